"""Plans, rules and silences."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.types.enums import Metric
from speedtrap_graph.rules import model
from speedtrap_graph.services.judging.standards import EPOCH
from speedtrap_graph.store.documents import (
    PlanDocument,
    PlanPart,
    RuleDocument,
    RulePart,
    SilenceDocument,
)


@strawberry.type(
    description="What was purchased. A run is judged by the plan in force when it started."
)
class Plan:
    id: strawberry.ID
    probe: str | None = strawberry.field(
        description="The probe it is for; null for every probe without plans of its own."
    )
    provider: str
    download_mbps: float
    upload_mbps: float | None
    time_zone: str = strawberry.field(description="IANA name, e.g. America/Denver.")
    since: datetime

    @classmethod
    def of(cls, plan: PlanDocument | PlanPart) -> Self:
        return cls(
            id=strawberry.ID(plan.id),
            probe=plan.probe,
            provider=plan.provider,
            download_mbps=plan.download_mbps,
            upload_mbps=plan.upload_mbps,
            time_zone=plan.time_zone,
            since=plan.since,
        )


@strawberry.type
class Rule:
    id: strawberry.ID
    probe: str | None
    name: str = strawberry.field(
        description="Empty for the metric's main rule, which reports and histories speak of."
    )
    metric: Metric
    tool: str | None = strawberry.field(
        description="The one tool that it hears; null: the best of all."
    )
    below_ratio: float | None
    below_mbps: float | None
    above_ms: float | None
    above_ratio: float | None
    more_than: int = strawberry.field(
        description="A breach opens with one more observation in a row than this."
    )
    out_of: int | None = strawberry.field(
        description="A breach opens with more than `moreThan` of the last so many; null: in a row."
    )
    only_at_peak: bool = strawberry.field(
        description="Hears only weekdays 19:00 to 23:00 in the plan's time zone."
    )
    recovered_after: int = strawberry.field(
        description="Good observations in a row that end a breach."
    )

    @classmethod
    def of(cls, rule: RuleDocument | RulePart) -> Self:
        return cls(
            id=strawberry.ID(rule.id),
            probe=rule.probe,
            name=rule.name,
            metric=Metric(rule.metric),
            tool=rule.tool,
            below_ratio=rule.below_ratio,
            below_mbps=rule.below_mbps,
            above_ms=rule.above_ms,
            above_ratio=rule.above_ratio,
            more_than=rule.more_than,
            out_of=rule.out_of,
            only_at_peak=rule.only_at_peak,
            recovered_after=rule.recovered_after,
        )


@strawberry.type
class Silence:
    probe: str
    until: datetime
    reason: str
    by: str

    @classmethod
    def of(cls, silence: SilenceDocument) -> Self:
        return cls(probe=silence.id, until=silence.until, reason=silence.reason, by=silence.by)


@strawberry.input
class PlanInput:
    probe: str | None = None
    provider: str
    download_mbps: float
    upload_mbps: float | None = None
    time_zone: str
    since: datetime | None = strawberry.field(
        default=None, description="In force from this moment; null: from the first run on."
    )

    def to_rules(self) -> model.Plan:
        return model.Plan(
            provider=self.provider,
            download_mbps=self.download_mbps,
            upload_mbps=self.upload_mbps,
            time_zone=self.time_zone,
            since=EPOCH if self.since is None else self.since,
        )


@strawberry.input
class RuleInput:
    probe: str | None = None
    metric: Metric = Metric.DOWNLOAD
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int = 5
    recovered_after: int = 1
    name: str = ""
    tool: str | None = None
    out_of: int | None = None
    only_at_peak: bool = False

    def to_rules(self) -> model.Rule:
        return model.Rule(
            metric=self.metric,
            below_ratio=self.below_ratio,
            below_mbps=self.below_mbps,
            above_ms=self.above_ms,
            above_ratio=self.above_ratio,
            more_than=self.more_than,
            recovered_after=self.recovered_after,
            name=self.name,
            out_of=self.out_of,
            only_at_peak=self.only_at_peak,
            tool=self.tool,
        )
