"""One round: every tool once, with the conditions. Whatever a tool does, there is a run."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign import text
from speedtrap_probe.foreign.credible import admitted
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement, Run
from speedtrap_probe.tool import Setup, Tool

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watcher:
    """Hears how a round goes."""

    started: Callable[[str], None] = lambda _tool: None
    measured: Callable[[Measurement], None] = lambda _measurement: None


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """The wall clock is read once a run: if it is set meanwhile, the run's times still agree."""

    started_at: datetime
    started_s: float

    def now(self) -> datetime:
        return self.started_at + timedelta(seconds=time.monotonic() - self.started_s)


class Witness(Protocol):
    """Sees the conditions: `before` the run, `around` each tool, `after` it all."""

    def before(self) -> Conditions: ...

    def around(self, tool: Tool, measure: Callable[[], Measurement]) -> Measurement: ...

    def after(self, came_through: bool) -> Conditions: ...


@dataclass(frozen=True, slots=True)
class Doubt:
    """A download below this looks wrong enough to be measured once more. `why` is for people."""

    below_mbps: float
    why: str


def measure(
    probe: str,
    tools: Sequence[Tool],
    setup: Setup,
    witness: Witness,
    watcher: Watcher = Watcher(),
    doubt: Doubt | None = None,
) -> Run:
    """Looks at the conditions, then runs every tool, one after the other."""
    watch = Stopwatch(datetime.now(UTC), time.monotonic())
    seen = witness.before()
    setup = replace(setup, line_up=seen.line_up)

    def one(tool: Tool, setup: Setup) -> Measurement:
        watcher.started(tool.name)
        measurement = witness.around(tool, lambda: admitted(_measure(tool, setup, watch), seen))
        watcher.measured(measurement)
        return measurement

    measurements = [one(tool, setup) for tool in tools]
    internet = {tool.name: tool for tool in tools if tool.internet}
    note = None
    if doubt is not None and (best := _best(measurements, internet)) is not None:
        download_mbps = best.figures.download_mbps or 0.0
        if download_mbps < doubt.below_mbps:
            measurements.append(one(internet[best.tool], replace(setup, avoid=_servers(best))))
            note = f"{best.tool} measured twice: {download_mbps:,.1f} Mbps is below {doubt.why}."
    came_through = any(
        measurement.failure is None or measurement.figures != Figures()
        for measurement in measurements
        if measurement.tool in internet
    )
    conditions = witness.after(came_through or not internet).noting(note)
    return Run(uuid4(), probe, watch.started_at, watch.now(), conditions, tuple(measurements))


def in_order(tools: Iterable[Tool], chance: random.Random) -> tuple[Tool, ...]:
    """One's own network first, as the baseline; then the internet's in random order.

    In a fixed order the same tool would always meet what the first one left of the line.
    """
    local = [tool for tool in tools if not tool.internet]
    others = [tool for tool in tools if tool.internet]
    chance.shuffle(others)
    return (*local, *others)


def _best(measurements: Iterable[Measurement], internet: Mapping[str, Tool]) -> Measurement | None:
    """The one with the greatest download: if that is below, all are."""
    found = [
        measurement
        for measurement in measurements
        if measurement.tool in internet and measurement.figures.download_mbps is not None
    ]
    return max(found, key=lambda one: one.figures.download_mbps or 0.0, default=None)


def _servers(measurement: Measurement) -> tuple[str, ...]:
    server = measurement.figures.server
    return (server.id,) if server is not None and server.id is not None else ()


def _measure(tool: Tool, setup: Setup, watch: Stopwatch) -> Measurement:
    started_at, started, setup = watch.now(), time.monotonic(), setup.afresh()
    figures, failure = Figures(), None
    try:
        figures = tool.measure(setup)
    except ToolError as error:
        figures = error.figures
        failure = _in_context(tool, setup, _in_time(setup, error.failure))
    except Exception as error:  # noqa: BLE001 - whatever a tool does, there is a run
        log.debug("%s failed unexpectedly:\n%s", tool.name, text.trace())
        what = f"unexpected {type(error).__name__} in {tool.name}: {error}"
        failure = Failure(FailureKind.TOOL_FAILED, what)
    return Measurement(tool.name, started_at, time.monotonic() - started, figures, failure)


def _in_time(setup: Setup, failure: Failure) -> Failure:
    """What a tool says whose connections were ended at its deadline is a consequence."""
    consequences = {FailureKind.TOOL_FAILED, FailureKind.NO_NETWORK}
    if not setup.deadline.passed or failure.kind not in consequences:
        return failure
    within_s = setup.deadline.within_s
    return Failure(FailureKind.TIMEOUT, f"ended after {within_s:g} s in all: {failure.message}")


def _in_context(tool: Tool, setup: Setup, failure: Failure) -> Failure:
    """With the line down, a timeout of an internet tool is the line's."""
    if not tool.internet or setup.line_up is not False:
        return failure
    if failure.kind not in {FailureKind.TIMEOUT, FailureKind.NO_NETWORK}:
        return failure
    return Failure(
        FailureKind.NO_NETWORK, f"{failure.message} (the connectivity check says the line is down)"
    )
