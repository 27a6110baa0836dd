"""Between stored runs and the rules' values."""

from collections.abc import Sequence
from typing import Any

from speedtrap_graph.rules.judgement import judge, threshold
from speedtrap_graph.rules.model import (
    Judgement,
    Observation,
    Outcome,
    Plan,
    Rule,
    RunFacts,
)
from speedtrap_graph.rules.plans import plan_at
from speedtrap_graph.services.figures import readings_of
from speedtrap_graph.services.standards import Standards
from speedtrap_graph.store.database import Row

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
        readings=readings_of(row["measurements"]),
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
