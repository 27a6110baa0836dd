"""What the chart can show: throughput down and up, and latency."""

from dataclasses import dataclass

from speedtrap_web.graphql.answers import Plan
from speedtrap_web.views.words import Words


@dataclass(frozen=True, slots=True)
class Metric:
    """`slug` stands in addresses, `name` in graph's schema. For latency more is worse."""

    slug: str
    name: str
    worse_above: bool = False

    def figure(self, value: float | None, words: Words) -> str:
        if value is None:
            return words.text("tile.none")
        return words.catalogue.number(value, 1) if self.worse_above else words.catalogue.mbps(value)

    def promised(self, plan: Plan | None) -> float | None:
        if plan is None or self.worse_above:
            return None
        return plan.download_mbps if self.name == "DOWNLOAD" else plan.upload_mbps


METRICS = {
    metric.slug: metric
    for metric in (
        Metric("download", "DOWNLOAD"),
        Metric("upload", "UPLOAD"),
        Metric("latency", "LATENCY", worse_above=True),
    )
}


def metric_of(slug: str | None) -> Metric:
    return METRICS.get(slug or "", METRICS["download"])
