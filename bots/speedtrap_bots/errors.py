"""What can go wrong in the bots. The three channel errors say what may happen next."""


class BotsError(Exception):
    """Anything that the bots raise on purpose; its text is fit for a person and holds no secret."""


class ChannelError(BotsError):
    """A delivery that did not end in SENT."""


class Refused(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """Never again: the other side, or our own checks, refused this notice for good."""


class Unavailable(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """Later: nothing left the house.

    `retry_after_s` is what the other side asked for, None for the worker's own ladder.
    `stops_channel` is set when no other notice would fare better until a person acts
    (a wrong password, a used-up plan).
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, stops_channel: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.stops_channel = stops_channel


class Unknown(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """It may have arrived: look, do not repeat."""


class LedgerError(BotsError):
    """The ledger could not do what was asked."""


class LedgerAway(LedgerError):  # noqa: N818 - says the state, like the channel errors
    """graph does not answer, or not now: try again later."""


class LedgerRefused(LedgerError):  # noqa: N818 - says the state, like the channel errors
    """graph understood and said no. `code` is the error's extensions.code."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LetterError(BotsError):
    """A letter cannot be written: a template is wrong, or what it makes is too long."""
