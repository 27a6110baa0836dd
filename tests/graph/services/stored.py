"""Runs as the store keeps them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from speedtrap_graph.rules.judgement import judge
from speedtrap_graph.rules.model import DEFAULT_RULE, Plan, Reading, Rule, RunFacts
from speedtrap_graph.services.judging.readings import FIGURE_KEYS

Row = dict[str, Any]


def a_stored_run(
    *readings: Reading,
    at: datetime,
    number: int,
    plan: Plan | None,
    probe: str = "laptop",
    line_up: bool | None = True,
    cross_traffic_mbps: float | None = None,
    rules: Sequence[Rule] = (DEFAULT_RULE,),
) -> Row:
    """Judged by *rules* under *plan*, as ingest would."""
    ended = at + timedelta(minutes=1)
    facts = RunFacts(UUID(int=number), at, ended, line_up, cross_traffic_mbps, readings)
    judgement = judge(facts, plan, rules)
    doubts = {"limits": judgement.limits, "doubtful": judgement.doubtful}
    return {
        "_id": facts.id,
        "probe": probe,
        "started_at": at,
        "finished_at": ended,
        "received_at": ended,
        "conditions": {"line_up": line_up, "medium": "WIRED"},
        "measurements": [_measurement(reading, at) for reading in readings],
        "outcome": judgement.outcome.value,
        "outcome_reason": judgement.reason,
        "best": {metric.value: value for metric, value in judgement.best.items()},
        **{
            name: {metric.value: value for metric, value in figures.items()}
            for name, figures in doubts.items()
            if figures
        },
    }


def _measurement(reading: Reading, at: datetime) -> Row:
    measurement: Row = {"tool": reading.tool, "started_at": at, "duration_s": 10.0}
    for metric, value in reading.figures.items():
        measurement[FIGURE_KEYS[metric]] = value
    if reading.failure is not None:
        measurement["failure"] = {"kind": reading.failure.value, "message": "in words"}
    return measurement
