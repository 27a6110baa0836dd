"""What single tools say against all others, of a stored range of runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.outlier_tools import Finding, findings
from speedtrap_graph.services.judging.observations import judgement_of, run_facts
from speedtrap_graph.services.judging.standards import Standards, pure_rule
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE, RuleDocument

MOST_RUNS = 4000
"""Five months of hourly ones; of a longer range the newest count."""
USUAL_RANGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class RuledFinding:
    """A finding by the metric's main rule."""

    finding: Finding
    rule: RuleDocument


async def findings_of(
    store: Store, probe: str, since: datetime, until: datetime, standards: Standards
) -> list[RuledFinding]:
    """By the main rule of each metric, the newest first."""
    if since >= until:
        raise BadInputError("until must be later than since", field="until")
    newest = store["runs"].find({"probe": probe, "started_at": {"$gte": since, "$lt": until}})
    order = [("started_at", -1), ("_id", -1)]
    rows = await newest.sort(order).hint(RUNS_OF_A_PROBE).limit(MOST_RUNS).to_list()
    return await asyncio.to_thread(_found, rows[::-1], standards)


def _found(rows: Sequence[Row], standards: Standards) -> list[RuledFinding]:
    runs = [(run_facts(row), judgement_of(row)) for row in rows]
    found = [
        RuledFinding(finding, rule)
        for rule in standards.rules
        if not rule.name
        for finding in findings(runs, standards.pure_plans, pure_rule(rule))
    ]
    return sorted(found, key=lambda ruled: ruled.finding.since, reverse=True)
