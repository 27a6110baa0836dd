"""What the newest run of a line said, tool by tool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from speedtrap_graph.rules.model import FailureKind, Metric, Outcome
from speedtrap_graph.services.judging.readings import readings_of
from speedtrap_graph.store.database import Row


@dataclass(frozen=True, slots=True)
class ToolWord:
    """What one tool said in a run: its best figures, or why it has none."""

    tool: str
    figures: Mapping[Metric, float]
    failure: FailureKind | None
    server_id: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """`is_fresh`: it speaks for the line. A line drawn on through a silence would be false."""

    started_at: datetime
    outcome: Outcome
    best: Mapping[Metric, float]
    tools: tuple[ToolWord, ...]
    is_fresh: bool


def last_run_of(run: Row, *, is_fresh: bool) -> LastRun:
    return LastRun(
        started_at=run["started_at"],
        outcome=Outcome(run["outcome"]),
        best={Metric(name): value for name, value in run.get("best", {}).items()},
        tools=_words(run["measurements"]),
        is_fresh=is_fresh,
    )


def _words(measurements: Sequence[Mapping[str, Any]]) -> tuple[ToolWord, ...]:
    """One a tool: one that measured twice is as good as its better figures."""
    found: dict[str, ToolWord] = {}
    for measurement, reading in zip(measurements, readings_of(measurements), strict=True):
        server = (measurement.get("server") or {}).get("id")
        word = ToolWord(reading.tool, reading.figures, reading.failure, server)
        known = found.get(reading.tool)
        found[reading.tool] = word if known is None else _better(known, word)
    return tuple(found[tool] for tool in sorted(found))


def _better(first: ToolWord, second: ToolWord) -> ToolWord:
    figures = dict(first.figures)
    for metric, value in second.figures.items():
        choice = max if metric.more_is_better else min
        figures[metric] = choice(figures.get(metric, value), value)
    failure = None if first.failure is None or second.failure is None else second.failure
    return ToolWord(first.tool, figures, failure, second.server_id or first.server_id)
