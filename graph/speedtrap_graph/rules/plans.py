"""Which plan was in force, and what it promised."""

from collections.abc import Sequence
from datetime import datetime

from speedtrap_graph.rules.model import Metric, Plan


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
