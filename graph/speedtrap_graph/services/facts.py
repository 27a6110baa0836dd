"""Between stored runs and the rules' values."""

from collections.abc import Mapping, Sequence
from typing import Any

from speedtrap_graph.rules.judgement import judge, threshold
from speedtrap_graph.rules.model import (
    FailureKind,
    Judgement,
    Metric,
    Observation,
    Outcome,
    Plan,
    Reading,
    Rule,
    RunFacts,
)
from speedtrap_graph.rules.plans import plan_at
from speedtrap_graph.services.standards import Standards
from speedtrap_graph.store.database import Row

METRIC_FIELDS: Mapping[Metric, str] = {
    Metric.DOWNLOAD: "download_mbps",
    Metric.UPLOAD: "upload_mbps",
    Metric.LATENCY: "latency_ms",
    Metric.JITTER: "jitter_ms",
    Metric.PACKET_LOSS: "packet_loss_ratio",
    Metric.LOADED_LATENCY_DOWN: "loaded_latency_down_ms",
    Metric.LOADED_LATENCY_UP: "loaded_latency_up_ms",
}

OBSERVED = {"started_at": 1, "finished_at": 1, "outcome": 1, "best": 1}
"""The projection that `observation_of` needs."""


def run_facts(row: Row) -> RunFacts:
    conditions = row.get("conditions", {})
    return RunFacts(
        id=row["_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        line_up=conditions.get("line_up"),
        cross_traffic_mbps=conditions.get("cross_traffic_mbps"),
        readings=tuple(reading_of(measurement) for measurement in row["measurements"]),
    )


def reading_of(measurement: Mapping[str, Any]) -> Reading:
    failure = measurement.get("failure")
    return Reading(
        tool=measurement["tool"],
        figures={
            metric: float(measurement[field])
            for metric, field in METRIC_FIELDS.items()
            if measurement.get(field) is not None
        },
        failure=FailureKind(failure["kind"]) if failure else None,
    )


def judged(row: Row, standards: Standards) -> dict[str, Any]:
    """The fields that a run gets by being judged."""
    plan = plan_at(standards.pure_plans, row["started_at"])
    found: Judgement = judge(run_facts(row), plan, standards.download_rule)
    return {
        "outcome": found.outcome.value,
        "outcome_reason": found.reason,
        "best": {metric.value: value for metric, value in found.best.items()},
    }


def observation_of(row: Row, plans: Sequence[Plan], rule: Rule) -> Observation:
    """What a judged run says to *rule*. Without a plan nothing was promised."""
    plan = plan_at(plans, row["started_at"])
    return Observation(
        run_id=row["_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=Outcome(row["outcome"]),
        value=row.get("best", {}).get(rule.metric.value),
        threshold=None if plan is None else threshold(rule, plan),
    )
