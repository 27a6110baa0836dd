"""What can go wrong in the probe. Everything else is a bug and shows its traceback."""

from speedtrap_probe.foreign import text
from speedtrap_probe.model import Failure, FailureKind, Figures


class ProbeError(Exception):
    """Something the user can understand and mend; its text is written for them."""


class NotKeptError(ProbeError):
    """A run was measured, and neither the CSV nor the outbox could take it; or the outbox is of no
    use."""


class SettingsError(ProbeError):
    """A setting or an argument cannot be used; the text names it and what is allowed."""


class ToolError(ProbeError):
    """A tool could not measure. Becomes the measurement's failure and never ends a run.

    `figures` are those it had before it failed.
    """

    def __init__(self, kind: FailureKind, message: str, figures: Figures | None = None) -> None:
        self.failure = Failure(kind, message)
        super().__init__(self.failure.message)
        self.figures = figures or Figures()


class UndeliveredError(ProbeError):
    """The service did not take the runs; they stay in the outbox.

    `divisible`: it may take some of them when they come alone. `refused`: it was reached, and is a
    speedtrap service; then `clock_offset_s` says how far its clock is ahead, if it told.
    """

    def __init__(
        self,
        message: str,
        *,
        divisible: bool = False,
        refused: bool = False,
        clock_offset_s: float | None = None,
    ) -> None:
        super().__init__(text.secretless(message))  # an address may have a password in it
        self.divisible = divisible
        self.refused = refused
        self.clock_offset_s = clock_offset_s
