"""One round: every tool once, with the conditions. Whatever a tool does, there is a run."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement, Run
from speedtrap_probe.tool import Setup, Tool

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watcher:
    """Hears how a round goes."""

    started: Callable[[str], None] = lambda _tool: None
    measured: Callable[[Measurement], None] = lambda _measurement: None


def measure(
    probe: str,
    tools: Sequence[Tool],
    setup: Setup,
    observe: Callable[[], Conditions],
    watcher: Watcher = Watcher(),
) -> Run:
    """Looks at the conditions, then runs every tool, one after the other."""
    started_at = datetime.now(UTC)
    conditions = observe()
    setup = replace(setup, line_up=conditions.line_up)
    measurements = []
    for tool in tools:
        watcher.started(tool.name)
        measurements.append(_measure(tool, setup))
        watcher.measured(measurements[-1])
    return Run(uuid4(), probe, started_at, datetime.now(UTC), conditions, tuple(measurements))


def _measure(tool: Tool, setup: Setup) -> Measurement:
    started_at, started = datetime.now(UTC), time.monotonic()
    figures, failure = Figures(), None
    try:
        figures = tool.measure(setup)
    except ToolError as error:
        figures, failure = error.figures, _in_context(tool, setup, error.failure)
    except Exception as error:
        log.debug("%s failed unexpectedly", tool.name, exc_info=True)
        what = f"unexpected {type(error).__name__} in {tool.name}: {error}"
        failure = Failure(FailureKind.TOOL_FAILED, what)
    return Measurement(tool.name, started_at, time.monotonic() - started, figures, failure)


def _in_context(tool: Tool, setup: Setup, failure: Failure) -> Failure:
    """With the line down, a timeout of an internet tool is the line's."""
    if not tool.internet or setup.line_up is not False:
        return failure
    if failure.kind not in {FailureKind.TIMEOUT, FailureKind.NO_NETWORK}:
        return failure
    return Failure(
        FailureKind.NO_NETWORK, f"{failure.message} (the connectivity check says the line is down)"
    )
