"""What a channel is, and how the ones in `channels/` are found: one file a channel, no list."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from speedtrap_bots import channels
from speedtrap_bots.content import Content
from speedtrap_bots.errors import Refused, Unknown
from speedtrap_bots.model import Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

MaySend = Callable[[], None]
"""Call it right before the byte that could deliver. It raises Unavailable when the lease may be
over: a worker that slept in between must not send what another one took up."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the other side called it, and what a person should know of how it went."""

    reference: str
    detail: str | None = None


class Channel(Protocol):
    """A way out. Derive from it: what has a body here is what most channels want.

    `recipient` is who gets what is planned now, empty while nobody is configured; a channel
    without a recipient plans and never delivers. `timeout_s` bounds one delivery as a whole.
    """

    stages: frozenset[Stage] = frozenset({Stage.OPENING, Stage.RECOVERY})
    """Which letters of a correspondence it carries."""
    drafts: bool = True
    """Whether a notice is written, to be read, even while nobody is configured to get it."""
    looks_up: bool = False
    """Whether `look_up` can tell what became of an unknown outcome."""

    @property
    def name(self) -> str: ...

    @property
    def recipient(self) -> str: ...

    @property
    def timeout_s(self) -> float: ...

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        """The message about *breach* in this channel's form. Pure: same breach, same bytes.

        *covered* are all the breaches that a DIGEST tells of.
        """
        ...

    async def deliver(self, notice: Notice, may_send: MaySend) -> str | Delivered:
        """Sends the frozen *notice*; returns what the other side called it.

        Raises Refused, Unavailable or Unknown.
        """
        ...

    async def look_up(self, notice: Notice) -> str | None:
        """What the other side called *notice* if it has it, None if it certainly has not.

        Raises Unavailable or Unknown when that cannot be told.
        """
        raise Unknown(f"{self.name} cannot be asked for {notice.reference}")

    async def test(self) -> str:
        """Sends one real message to the owner; in words, where to look for it."""
        raise Refused(f"{self.name} has no test")

    def quiet_until(self, now: datetime) -> datetime | None:
        """The end of the quiet hours that *now* is in, None outside of them."""
        del now
        return None


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """What a channel's file exports as CHANNEL."""

    name: str
    settings: type[EnvironmentSettings]
    open: Callable[[Any], Channel]


def kinds() -> Mapping[str, ChannelKind]:
    """Every channel in the folder, by name."""
    found: dict[str, ChannelKind] = {}
    for module in iter_modules(channels.__path__, channels.__name__ + "."):
        kind: ChannelKind = import_module(module.name).CHANNEL
        found[kind.name] = kind
    return found
