"""What single tools say against all others."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.types.enums import Metric
from speedtrap_graph.api.types.plans import Rule
from speedtrap_graph.rules import outlier_tools
from speedtrap_graph.services.history.findings import RuledFinding


@strawberry.type(
    description="Another tool in the runs of a finding: in `n` of them it measured and kept the "
    "rule, with this median."
)
class OtherTool:
    tool: str
    n: int
    median: float

    @classmethod
    def of(cls, other: outlier_tools.OtherTool) -> Self:
        return cls(tool=other.tool, n=other.n, median=other.median)


@strawberry.type(
    description="One tool breaks the rule in run after run in which all others keep it. That is "
    "about the tool or its server, and no breach of the line."
)
class Finding:
    probe: str
    tool: str
    metric: Metric
    rule: Rule = strawberry.field(
        description="The metric's main rule; as many in a row make a finding as make a breach."
    )
    since: datetime = strawberry.field(description="The start of its first run.")
    last_run_at: datetime
    ended_at: datetime | None = strawberry.field(
        description="The start of the run in which the tool kept the rule again; null: not yet."
    )
    count: int = strawberry.field(description="Runs in which the tool alone broke the rule.")
    median: float = strawberry.field(description="Of the tool in those runs, in the metric's unit.")
    others: list[OtherTool]

    @classmethod
    def of(cls, probe: str, ruled: RuledFinding) -> Self:
        finding = ruled.finding
        return cls(
            probe=probe,
            tool=finding.tool,
            metric=finding.metric,
            rule=Rule.of(ruled.rule),
            since=finding.since,
            last_run_at=finding.last_run_at,
            ended_at=finding.ended_at,
            count=finding.count,
            median=finding.median,
            others=[OtherTool.of(other) for other in finding.others],
        )
