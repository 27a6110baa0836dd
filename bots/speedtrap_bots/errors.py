"""What can go wrong in the bots. The three channel errors say what may happen next."""

import ipaddress
import re
import unicodedata

LONGEST_TEXT = 500
"""Of an error or a reply: the ledger takes 1000 characters."""
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)"
    r"|(?<![\w.:])[0-9a-fA-F.]*:[0-9a-fA-F:.]*[0-9a-fA-F](?!\w)"
)


def one_line(text: str, limit: int = LONGEST_TEXT) -> str:
    """*text* as it may enter the ledger or a log: valid Unicode, one line of visible characters.

    Libraries keep bytes that are no UTF-8 as lone surrogates, which no JSON and no database takes.
    """
    cut = "".join(map(_visible, text[: limit * 4]))
    line = " ".join(cut.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _visible(character: str) -> str:
    match unicodedata.category(character):
        case "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cf":
            return ""
    return character


def said(text: str) -> str:
    """What another's server said, without network addresses: it likes to name the household's."""
    return _ADDRESS.sub(_hidden, one_line(text))


def _hidden(found: re.Match[str]) -> str:
    try:
        ipaddress.ip_address(found[0].rstrip(".:"))
    except ValueError:
        return found[0]
    return "(address)"


class BotsError(Exception):
    """Anything that the bots raise on purpose; its text is fit for a person and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ChannelError(BotsError):
    """A delivery that did not end in SENT.

    `reference` is what the ledger keeps for the next attempt, if there is one.
    """

    def __init__(self, message: str, *, reference: str | None = None) -> None:
        super().__init__(message)
        self.reference = reference


class Refused(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """Never again: the other side, or our own checks, refused this notice for good."""


class Unavailable(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """Later: nothing left the house.

    `retry_after_s` is what the other side asked for, None for the worker's own ladder.
    `stops_channel` is set when no other notice would fare better until a person acts
    (a wrong password, a used-up plan).
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        stops_channel: bool = False,
        reference: str | None = None,
    ) -> None:
        super().__init__(message, reference=reference)
        self.retry_after_s = retry_after_s
        self.stops_channel = stops_channel


class Unknown(ChannelError):  # noqa: N818 - the three outcomes are words of the design
    """It may have arrived: look, do not repeat."""


class LedgerError(BotsError):
    """The ledger could not do what was asked."""


class LedgerAway(LedgerError):  # noqa: N818 - says the state, like the channel errors
    """graph does not answer, or not now: try again later."""


class LedgerFailed(LedgerAway):
    """graph answers, but this made it fail: the same again may do so for ever."""


class LedgerRefused(LedgerError):  # noqa: N818 - says the state, like the channel errors
    """graph understood and said no. `code` is the error's extensions.code."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LetterError(BotsError):
    """A letter cannot be written: a template is wrong, or what it makes is too long."""
