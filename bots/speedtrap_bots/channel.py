"""What a channel is, and how the ones in `channels/` are found: one file a channel, no list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from speedtrap_bots import channels
from speedtrap_bots.content import Content
from speedtrap_bots.model import Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings


class Channel(Protocol):
    """A way out.

    `recipient` is who gets what is planned now, empty while nobody is configured; a channel
    without a recipient plans and never delivers. `timeout_s` bounds one delivery as a whole.
    """

    @property
    def name(self) -> str: ...

    @property
    def recipient(self) -> str: ...

    @property
    def timeout_s(self) -> float: ...

    def write(self, breach: Breach, stage: Stage) -> Content:
        """The message about *breach* in this channel's form. Pure: same breach, same bytes."""
        ...

    async def deliver(self, notice: Notice) -> str:
        """Sends the frozen *notice*; returns what the other side called it.

        Raises Refused, Unavailable or Unknown.
        """
        ...


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
