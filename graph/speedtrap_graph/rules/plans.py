"""Which plan was in force, and what it promised."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from speedtrap_graph.rules.model import Metric, Plan, Rule


def plan_at(plans: Sequence[Plan], moment: datetime) -> Plan | None:
    """The plan in force at *moment*, of *plans* sorted by `since`; None before the first."""
    for plan in reversed(plans):
        if plan.since <= moment:
            return plan
    return None


def subscribed(plan: Plan | None, metric: Metric) -> float | None:
    """The throughput that *plan* promises for *metric*, in Mbps; no plan promises a latency."""
    if plan is None:
        return None
    if metric is Metric.DOWNLOAD:
        return plan.download_mbps
    if metric is Metric.UPLOAD:
        return plan.upload_mbps
    return None


@lru_cache(maxsize=4096)
def part_of(ratio: float, whole: float) -> float:
    """*ratio* of *whole*, multiplied as the decimals that people wrote.

    0.55 of 100 is 55, where binary floats make it 55.000000000000007, and a figure of 55 less.
    """
    return float(Decimal(repr(ratio)) * Decimal(repr(whole)))


def threshold(rule: Rule, plan: Plan | None) -> float | None:
    """The rule's bound in its metric's unit under *plan*; None when the plan says nothing on it.

    Without a plan there is none, not even an absolute one: nobody promised anything.
    """
    if plan is None:
        return None
    if rule.below_ratio is not None:
        promised = subscribed(plan, rule.metric)
        return None if promised is None else part_of(rule.below_ratio, promised)
    for bound in (rule.below_mbps, rule.above_ms, rule.above_ratio):
        if bound is not None:
            return bound
    return None
