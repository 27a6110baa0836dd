"""Between stored runs and the rules' values."""

from collections.abc import Iterable, Sequence
from typing import Any

from speedtrap_graph.rules.judgement import judge, observation
from speedtrap_graph.rules.model import (
    Judgement,
    Medium,
    Metric,
    Observation,
    Outcome,
    Plan,
    Rule,
    RunFacts,
)
from speedtrap_graph.rules.plans import plan_at, threshold
from speedtrap_graph.services.judging.readings import FIGURE_KEYS, readings_of
from speedtrap_graph.services.judging.standards import Standards
from speedtrap_graph.store.database import Row

# Looking a name up takes a tenth of the time that an enumeration takes over it.
_NAMES = {metric: metric.value for metric in Metric}
_OUTCOME_NAMES = {outcome: outcome.value for outcome in Outcome}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MEDIA = {medium.value: medium for medium in Medium}
_METRICS = {metric.value: metric for metric in Metric}
_OBSERVED = dict.fromkeys(("started_at", "finished_at", "outcome", "best", "limits", "doubtful"), 1)
_OF_A_TOOL = ("measurements.tool", "conditions.link_mbps", "conditions.medium")


def observed(rules: Iterable[Rule]) -> dict[str, int]:
    """The projection that `observation_of` needs for *rules*."""
    figures = {f"measurements.{FIGURE_KEYS[rule.metric]}" for rule in rules if rule.tool}
    return _OBSERVED | dict.fromkeys((*figures, *(_OF_A_TOOL if figures else ())), 1)


def run_facts(row: Row) -> RunFacts:
    conditions = row.get("conditions", {})
    return RunFacts(
        id=row["_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        line_up=conditions.get("line_up"),
        cross_traffic_mbps=conditions.get("cross_traffic_mbps"),
        readings=readings_of(row["measurements"]),
        cpu_percent=conditions.get("cpu_percent"),
        vpn=conditions.get("vpn"),
        medium=_medium(conditions),
        link_mbps=conditions.get("link_mbps"),
        cross_traffic_down_mbps=conditions.get("cross_traffic_down_mbps"),
        cross_traffic_up_mbps=conditions.get("cross_traffic_up_mbps"),
        cpu_wait_percent=conditions.get("cpu_wait_percent"),
    )


def judged(row: Row, standards: Standards) -> dict[str, Any]:
    """The fields that a run gets by being judged."""
    plan = plan_at(standards.pure_plans, row["started_at"])
    found: Judgement = judge(run_facts(row), plan, standards.all_rules)
    fields: dict[str, Any] = {
        "outcome": _OUTCOME_NAMES[found.outcome],
        "outcome_reason": found.reason,
        "best": {_NAMES[metric]: value for metric, value in found.best.items()},
    }
    for name, figures in (("limits", found.limits), ("doubtful", found.doubtful)):
        if figures:  # hardly ever: absent otherwise
            fields[name] = {_NAMES[metric]: value for metric, value in figures.items()}
    return fields


def observation_of(row: Row, plans: Sequence[Plan], rule: Rule) -> Observation:
    """What a judged run says to *rule*. Without a plan nothing was promised."""
    plan = plan_at(plans, row["started_at"])
    if rule.tool is not None or rule.only_at_peak or "limits" in row:
        return observation(_as_facts(row, rule), judgement_of(row), plan, rule)
    return Observation(
        run_id=row["_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=_OUTCOMES[row["outcome"]],
        value=row.get("best", {}).get(_NAMES[rule.metric]),
        threshold=None if plan is None else threshold(rule, plan),
    )


def _as_facts(row: Row, rule: Rule) -> RunFacts:
    conditions = row.get("conditions", {})
    readings = readings_of(row.get("measurements", ()), rule.metric)
    moments = row["started_at"], row["finished_at"]
    return RunFacts(
        row["_id"], *moments, None, None, readings,
        medium=_medium(conditions), link_mbps=conditions.get("link_mbps"),
    )  # fmt: skip


def judgement_of(row: Row) -> Judgement:
    """As it is stored."""
    best, limits, doubtful = (
        {_METRICS[name]: value for name, value in row.get(part, {}).items()}
        for part in ("best", "limits", "doubtful")
    )
    reason = row.get("outcome_reason", "")
    return Judgement(_OUTCOMES[row["outcome"]], reason, best, limits, doubtful)


def _medium(conditions: Row) -> Medium:
    return _MEDIA[conditions.get("medium", "UNKNOWN")]
