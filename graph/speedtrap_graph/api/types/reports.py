"""History and service report."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.types.enums import FccBand, Metric, Verdict
from speedtrap_graph.api.types.plans import Plan
from speedtrap_graph.api.types.runs import LOCAL
from speedtrap_graph.rules import report
from speedtrap_graph.rules.doubts import LOCAL_TOOLS
from speedtrap_graph.services.history import series
from speedtrap_graph.store.documents import PlanDocument

_EXACT = (
    "Every figure is of the runs themselves. Otherwise it is put together from rolled-up hours, "
    "days and months, as it always is where runs are no longer kept: percentiles are within 1 %."
)


@strawberry.type(
    description="Columnar, one entry a bucket; empty buckets are null, so that a gap stays a gap."
)
class History:
    probe: str
    metric: Metric
    tool: str | None
    t: list[float] = strawberry.field(description="The bucket's start, seconds since the epoch.")
    bucket_s: float
    median: list[float | None]
    p10: list[float | None]
    p90: list[float | None]
    min: list[float | None]
    max: list[float | None]
    n: list[int]
    below: list[int] = strawberry.field(
        description="Observations that broke the rule for this metric."
    )
    outages: list[int]
    inconclusive: list[int]
    subscribed_mbps: list[float | None]
    exact: bool = strawberry.field(description=_EXACT)

    @classmethod
    def of(cls, found: series.History) -> Self:
        return cls(
            probe=found.probe,
            metric=found.metric,
            tool=found.tool,
            t=list(found.t),
            bucket_s=found.bucket_s,
            median=list(found.median),
            p10=list(found.p10),
            p90=list(found.p90),
            min=list(found.min),
            max=list(found.max),
            n=list(found.n),
            below=list(found.below),
            outages=list(found.outages),
            inconclusive=list(found.inconclusive),
            subscribed_mbps=list(found.subscribed_mbps),
            exact=found.exact,
        )


@strawberry.type(description="A median and how many observations it stands on.")
class Figure:
    median: float | None
    n: int

    @classmethod
    def of(cls, figure: report.Figure) -> Self:
        return cls(median=figure.median, n=figure.n)


@strawberry.type(
    description="medianRatio: of its figures over the subscribed speed, each by the plan of its"
    " run's time; null for a local tool."
)
class ToolFigure:
    tool: str
    local: bool = strawberry.field(description=LOCAL)
    median: float | None
    median_ratio: float | None
    n: int
    failures: int

    @classmethod
    def of(cls, figure: report.ToolFigure) -> Self:
        return cls(
            tool=figure.tool,
            local=figure.tool in LOCAL_TOOLS,
            median=figure.median,
            median_ratio=figure.median_ratio,
            n=figure.n,
            failures=figure.failures,
        )


@strawberry.type(
    description="weekday: 0 Monday to 6 Sunday; hour: 0 to 23; both in the plan's time zone."
    " medianRatio: over the subscribed speed, each by the plan of its run's time."
)
class HourFigure:
    weekday: int
    hour: int
    median: float | None
    median_ratio: float | None
    n: int

    @classmethod
    def of(cls, figure: report.HourFigure) -> Self:
        return cls(
            weekday=figure.weekday,
            hour=figure.hour,
            median=figure.median,
            median_ratio=figure.median_ratio,
            n=figure.n,
        )


@strawberry.type
class OutageSummary:
    count: int
    duration_s: float

    @classmethod
    def of(cls, summary: report.OutageSummary) -> Self:
        return cls(count=summary.count, duration_s=summary.duration_s)


@strawberry.type
class ServiceReport:
    probe: str
    since: datetime
    until: datetime
    plan: Plan | None
    verdict: Verdict
    judged_runs: int = strawberry.field(
        description="Observations and outages under a plan: what the verdict stands on."
    )
    judged_by_peak: bool = strawberry.field(
        description="Whether the consistent speed that the verdict leans on is that of the peak; "
        "false while it has too few observations: then it is that of all hours."
    )
    n: int = strawberry.field(description="Observations in the range: what the median stands on.")
    outage_runs: int
    inconclusive_runs: int
    median_mbps: float | None
    median_ratio: float | None
    fcc_band: FccBand | None
    consistent_mbps: float | None = strawberry.field(
        description="20th percentile of observations at peak "
        "(weekdays 19:00 to 23:00 in the plan's time zone)."
    )
    consistent_ratio: float | None
    peak: Figure
    off_peak: Figure
    below_count: int = strawberry.field(
        description="Observations below the download rule, outages included, over all that count."
    )
    below_share: float | None
    outages: OutageSummary
    longest_streak: int
    current_streak: int
    tools: list[ToolFigure]
    hours: list[HourFigure]
    percentiles: list[float] = strawberry.field(
        description="Of the observations, in steps of 5 %: least, 5 %, ... greatest; "
        "empty without observations."
    )
    exact: bool = strawberry.field(description=_EXACT)

    @classmethod
    def of(cls, found: report.ServiceReport, plan: PlanDocument | None) -> Self:
        return cls(
            probe=found.probe,
            since=found.since,
            until=found.until,
            plan=None if plan is None else Plan.of(plan),
            verdict=found.verdict,
            judged_runs=found.judged_runs,
            judged_by_peak=found.judged_by_peak,
            n=found.n,
            outage_runs=found.outage_runs,
            inconclusive_runs=found.inconclusive_runs,
            median_mbps=found.median_mbps,
            median_ratio=found.median_ratio,
            fcc_band=found.fcc_band,
            consistent_mbps=found.consistent_mbps,
            consistent_ratio=found.consistent_ratio,
            peak=Figure.of(found.peak),
            off_peak=Figure.of(found.off_peak),
            below_count=found.below_count,
            below_share=found.below_share,
            outages=OutageSummary.of(found.outages),
            longest_streak=found.longest_streak,
            current_streak=found.current_streak,
            tools=[ToolFigure.of(figure) for figure in found.tools],
            hours=[HourFigure.of(figure) for figure in found.hours],
            percentiles=list(found.percentiles),
            exact=found.exact,
        )
