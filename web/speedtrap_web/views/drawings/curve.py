"""How often the line gives at least so much: the share of runs that reach each throughput."""

from collections.abc import Sequence
from dataclasses import dataclass

from speedtrap_web.graphql.answers import Rule, ServiceReport
from speedtrap_web.views.drawings.chart import HEIGHT, WIDTH, AxisLabel, nice_step
from speedtrap_web.views.words import ENOUGH_TO_JUDGE, Words

TABLE_RATIOS = (1.0, 0.95, 0.8, 0.5, 0.25)


@dataclass(frozen=True, slots=True)
class Step:
    """At least `mbps` in `share` of the runs."""

    mbps: str
    share: str


@dataclass(frozen=True, slots=True)
class Curve:
    """The path is in WIDTH x HEIGHT units; marks in percent of the width."""

    path: str
    area: str
    subscribed: float | None
    threshold: float | None
    x_marks: tuple[AxisLabel, ...]
    steps: tuple[Step, ...]
    n: int


def curve(report: ServiceReport, rule: Rule | None, words: Words) -> Curve | None:
    if report.n < ENOUGH_TO_JUDGE or len(report.percentiles) < 2:
        return None
    subscribed = report.plan.download_mbps if report.plan else None
    step = nice_step(max(report.percentiles[-1], subscribed or 0))
    top = step * max(1, -(-max(report.percentiles[-1], subscribed or 0) // step))
    points = [
        (round(value / top * WIDTH, 1), round(i / (len(report.percentiles) - 1) * HEIGHT, 1))
        for i, value in enumerate(report.percentiles)
    ]
    path = f"M0 0H{points[0][0]}" + "".join(f"L{x} {y}" for x, y in points)
    bound = rule.threshold(subscribed) if rule else None
    return Curve(
        path=path,
        area=f"{path}V{HEIGHT:.0f}H0Z",
        subscribed=_at(subscribed, top),
        threshold=_at(bound, top),
        x_marks=tuple(
            AxisLabel(round(i * step / top * 100, 1), words.catalogue.number(i * step))
            for i in range(round(top / step) + 1)
        ),
        steps=tuple(_steps(report.percentiles, subscribed, step, words)),
        n=report.n,
    )


def _at(mbps: float | None, top: float) -> float | None:
    return None if mbps is None else round(mbps / top * WIDTH, 1)


def _steps(
    percentiles: Sequence[float], subscribed: float | None, step: float, words: Words
) -> list[Step]:
    """The same as a table: shares of the plan, or round figures without one."""
    if subscribed is None:
        wanted = [i * step for i in range(5, 0, -1) if i * step <= percentiles[-1]]
    else:
        wanted = [ratio * subscribed for ratio in TABLE_RATIOS]
    steps = []
    for mbps in wanted:
        written = words.catalogue.mbps(mbps)
        if subscribed is not None:
            ratio = words.catalogue.percent(mbps / subscribed)
            written = words.text("curve.of_plan", mbps=written, ratio=ratio)
        steps.append(Step(written, words.catalogue.percent(share_at_least(percentiles, mbps))))
    return steps


def share_at_least(percentiles: Sequence[float], mbps: float) -> float:
    """The share of a sample that reaches *mbps*, by its evenly spaced percentiles (0..1)."""
    if mbps <= percentiles[0]:
        return 1.0
    last = len(percentiles) - 1
    for i in range(1, last + 1):
        low, high = percentiles[i - 1], percentiles[i]
        if mbps <= high:
            part = (mbps - low) / (high - low) if high > low else 1.0
            return 1 - (i - 1 + part) / last
    return 0.0
