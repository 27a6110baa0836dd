"""What runs may cost a month, where data is counted or paid for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures
from speedtrap_probe.plan import Plan
from speedtrap_probe.tool import Option, Setup, Tool, Usable

UNKNOWN_COST_BYTES = 300_000_000  # of a tool that has never run here, without a plan to go by
RAMP = 1.5  # a tool moves data before and after the time that it measures


@dataclass(frozen=True, slots=True)
class Budget:
    """A month's limit (None: there is none), what of it is used, and what a run is likely to cost.

    One's own network costs nothing.
    """

    limit_bytes: int | None
    spent_bytes: int
    costs: Mapping[str, int] = field(default_factory=dict)

    @property
    def run_bytes(self) -> int:
        return sum(self.costs.values())

    @property
    def exhausted(self) -> str | None:
        """Why not every tool may measure, in words; None when all may."""
        if self.limit_bytes is None or self.spent_bytes + self.run_bytes <= self.limit_bytes:
            return None
        return (
            f"the month's data budget of {size(self.limit_bytes)} would be exceeded: "
            f"{size(self.spent_bytes)} are used, and a run costs about {size(self.run_bytes)}"
        )

    def affordable(self, names: Iterable[str]) -> frozenset[str]:
        """Those of *names*, the first first, that fit into what is left.

        A run is not all or nothing: what was never measured is guessed dearly, and a guess that
        forbade the first run would never be replaced by what it really costs.
        """
        chosen, left = set(), self.left_bytes
        for name in names:
            cost = self.costs.get(name, 0)
            if left is None or cost <= left:
                chosen.add(name)
                left = None if left is None else left - cost
        return frozenset(chosen)

    @property
    def left_bytes(self) -> int | None:
        return None if self.limit_bytes is None else self.limit_bytes - self.spent_bytes

    def why_not(self, name: str) -> str:
        """Why a tool is left out, in words."""
        return (
            f"the month's data budget of {size(self.limit_bytes or 0)} would be exceeded: "
            f"{size(self.spent_bytes)} are used, {name} costs about {size(self.costs[name])}, "
            f"and all tools together about {size(self.run_bytes)}"
        )


def costs(
    tools: Iterable[Tool], known: Mapping[str, int], plan: Plan | None, window_s: float
) -> dict[str, int]:
    """What each internet tool is likely to move: as much as last time, or what the plan allows."""
    guess = UNKNOWN_COST_BYTES
    if plan is not None:
        mbps = plan.download_mbps + (plan.upload_mbps or plan.download_mbps)
        guess = int(mbps * 1e6 / 8 * window_s * RAMP)
    return {tool.name: known.get(tool.name, guess) for tool in tools if tool.internet}


def size(count: float) -> str:
    """Bytes for people, in powers of a thousand as data plans are sold."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.4g} GB"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Stands in for a tool that may not measure now, and says why."""

    tool: Tool
    why: str

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def internet(self) -> bool:
        return self.tool.internet

    @property
    def options(self) -> tuple[Option, ...]:
        return self.tool.options

    def usable(self, setup: Setup) -> Usable:
        return self.tool.usable(setup)

    def measure(self, _setup: Setup) -> Figures:
        raise ToolError(FailureKind.SKIPPED, self.why)
