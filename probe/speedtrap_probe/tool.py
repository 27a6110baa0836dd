"""What a tool is: a name, the options it reads, and a way to measure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlsplit

from speedtrap_probe.deadline import UNLIMITED, Deadline
from speedtrap_probe.line.way import Way
from speedtrap_probe.model import Figures

WINDOW_S = 8.0  # enough for a settled rate at 20 ms of round trip
# Of one tool in all: lists, names and round trips; and both directions at three servers.
DEADLINE_S, DEADLINE_WINDOWS = 120.0, 6

Progress = Callable[[str, float], None]
"""Called with what is measured ("download") and the Mbps of the moment."""


def silent(_phase: str, _mbps: float) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of one tool: `SPEEDTRAP_PROBE_<NAME>`, or `<name>` in speedtrap.toml."""

    name: str
    help: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a tool may know of the world when it measures.

    `line_up` is the connectivity check's word: a tool that needs the internet still tries when it
    is False, but shortly. `proxy` is set only when the user asked for one. `window_s` is how long
    the engine measures a direction at most. `ip_version` is `any`, `4` or `6`; `bind` is the
    interface or the source address to measure from. `avoid` names servers (by their ids) that
    measured already: a tool that can choose takes another. `deadline_s` is how long a tool may take
    in all, None as long as its windows demand; `deadline` is what ends it then.
    """

    service_url: str
    options: Mapping[str, str] = field(default_factory=dict)
    line_up: bool | None = None
    proxy: str | None = None
    window_s: float = WINDOW_S
    progress: Progress = silent
    ip_version: str = "any"
    bind: str | None = None
    avoid: tuple[str, ...] = ()
    deadline_s: float | None = None
    deadline: Deadline = field(default=UNLIMITED, compare=False)

    def __post_init__(self) -> None:
        if self.deadline is UNLIMITED:
            within_s = self.deadline_s or DEADLINE_S + DEADLINE_WINDOWS * self.window_s
            object.__setattr__(self, "deadline", Deadline(within_s))

    def afresh(self) -> "Setup":
        """The same for another tool, whose deadline has not begun."""
        return replace(self, deadline=UNLIMITED)

    def names(self, host: str) -> bool:
        """Whether a person wrote this very host into a setting."""
        written = (self.service_url, *self.options.values())
        return any(host == _host(text) for text in written)

    @property
    def way(self) -> Way:
        """For a tool that opens its own sockets."""
        return Way(self.ip_version, self.bind)


def _host(text: str) -> str | None:
    try:
        return urlsplit(text).hostname
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Usable:
    """Whether a tool can run here; `hint` says why not and how to get it."""

    ok: bool
    version: str | None = None
    hint: str | None = None


class Tool(Protocol):
    """One file in `tools/` exports one of these as `TOOL`."""

    @property
    def name(self) -> str:
        """As it appears in runs, e.g. `speedtest-cli`."""

    @property
    def internet(self) -> bool:
        """Measures the internet line (False: one's own network)."""

    @property
    def options(self) -> tuple[Option, ...]:
        """The settings that it reads from `Setup.options`."""

    def usable(self, setup: Setup) -> Usable:
        """Looks, without measuring."""

    def measure(self, setup: Setup) -> Figures:
        """One measurement; raises ToolError when there are no figures."""
