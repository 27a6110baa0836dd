"""A breach as a picture: each of its runs and those around it, beside the plan and the rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from speedtrap_web.graphql.answers import Breach, Observation, Run
from speedtrap_web.views.drawings.chart import (
    HEIGHT,
    WIDTH,
    AxisLabel,
    Dot,
    Picture,
    Span,
    nice_step,
)
from speedtrap_web.views.words import Words

HOURS_AROUND = 24
"""What the line did before, and whether it has come back, good runs as well as bad ones."""
TICKS = 5
_THROUGHPUTS = frozenset({"DOWNLOAD", "UPLOAD"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """`picture` has no lines but the plan's and the rule's; `legend` is of (key, words)."""

    title: str
    alt: str
    picture: Picture
    legend: tuple[tuple[str, str], ...]


def evidence(
    breach: Breach, around: Sequence[Run], said: Sequence[Observation], words: Words
) -> Evidence | None:
    """*around* are all runs of the breach's time and somewhat more, oldest first, and *said* what
    they say to its rule; None when there are none, or no longer any.
    """
    if not around:
        return None
    return Evidence(
        title=_title(breach, words),
        alt=words.text(
            "pdf.chart", reference=breach.reference, n=words.catalogue.number(len(around))
        ),
        picture=_picture(breach, around, said, words),
        legend=tuple(_legend(breach, words)),
    )


def _figures(
    breach: Breach, around: Sequence[Run], said: Sequence[Observation]
) -> list[tuple[datetime, float, bool]]:
    """When each run with a figure started, the figure in the picture's unit, and whether the
    breach stands on it.
    """
    factor = _factor(breach)
    by_run = {observation.run: observation for observation in said}
    return [
        (run.started_at, found.value * factor, found.in_breach)
        for run in around
        if (found := by_run.get(run.id)) is not None and found.value is not None
    ]


def _factor(breach: Breach) -> int:
    """Lost packets are drawn in percent."""
    return 100 if breach.rule.metric == "PACKET_LOSS" else 1


def _bounds(breach: Breach) -> tuple[float | None, float | None]:
    """What was bought and what the rule asks for, in the picture's unit."""
    subscribed = breach.subscribed_mbps if breach.rule.metric in _THROUGHPUTS else None
    bound = breach.rule.threshold(breach.subscribed_mbps)
    return subscribed, bound and bound * _factor(breach)


@dataclass(frozen=True, slots=True)
class _Scale:
    since: datetime
    until: datetime
    top: float

    def x(self, moment: datetime) -> float:
        share = (moment - self.since) / (self.until - self.since)
        return round(min(1.0, max(0.0, share)) * WIDTH, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - value / self.top * HEIGHT, 1)


def _picture(
    breach: Breach, around: Sequence[Run], said: Sequence[Observation], words: Words
) -> Picture:
    subscribed, bound = _bounds(breach)
    figures = _figures(breach, around, said)
    values = [value for _, value, _ in figures]
    highest = max((v for v in (*values, subscribed, bound) if v is not None), default=100.0)
    step = nice_step(highest * 1.05)
    end = breach.resolved_at or breach.last_run_at
    since = min(around[0].started_at, breach.first_run_at)
    until = max(around[-1].finished_at, end, since + timedelta(minutes=1))
    scale = _Scale(since, until, step * max(1, ceil(highest * 1.02 / step)))
    left, right = scale.x(breach.first_run_at), scale.x(end)
    return Picture(
        band="",
        median="",
        subscribed=_across(subscribed, scale),
        threshold=_across(bound, scale),
        low=(),
        breaches=(Span(left, max(2.0, round(right - left, 1))),),
        outages=tuple(scale.x(run.started_at) for run in around if run.outcome == "OUTAGE"),
        inconclusive=tuple(
            scale.x(run.started_at) for run in around if run.outcome == "INCONCLUSIVE"
        ),
        y_marks=tuple(
            AxisLabel(round(scale.y(n * step) / HEIGHT * 100, 1), words.catalogue.number(n * step))
            for n in range(round(scale.top / step) + 1)
        ),
        x_marks=tuple(_x_marks(scale, words)),
        dots=tuple(
            Dot(scale.x(started_at), scale.y(value), broke) for started_at, value, broke in figures
        ),
    )


def _across(value: float | None, scale: _Scale) -> str:
    return "" if value is None else f"M0 {scale.y(value)}H{WIDTH:.0f}"


def _x_marks(scale: _Scale, words: Words) -> list[AxisLabel]:
    whole = scale.until - scale.since
    marks = []
    for n in range(TICKS):
        moment = (scale.since + whole * n / TICKS).astimezone(words.zone)
        label = words.catalogue.date(moment, words.zone)
        if whole <= timedelta(days=TICKS):
            label = f"{label}, {words.catalogue.clock(moment)}"
        marks.append(AxisLabel(100 * n / TICKS, label))
    return marks


def _title(breach: Breach, words: Words) -> str:
    metric = words.text(f"rule.metric.{breach.rule.metric}")
    name = metric if breach.rule.tool is None else f"{metric} ({breach.rule.tool})"
    unit = (
        words.text("unit.mbps")
        if breach.rule.metric in _THROUGHPUTS
        else "%"
        if breach.rule.metric == "PACKET_LOSS"
        else "ms"
    )
    return f"{name}, {unit}"


def _legend(breach: Breach, words: Words) -> list[tuple[str, str]]:
    rule = words.rule(breach.rule)
    below = breach.rule.metric in _THROUGHPUTS
    entries = [
        ("broke", words.text("chart.legend.below" if below else "chart.legend.above", rule=rule)),
        ("kept", words.text("chart.legend.dot")),
        ("breach", words.text("chart.legend.breach")),
        ("threshold", rule[0].upper() + rule[1:]),
        ("outage", words.text("chart.legend.outage")),
        ("inconclusive", words.text("chart.legend.inconclusive")),
    ]
    if below:
        mbps = f"{words.catalogue.plain(breach.subscribed_mbps)} {words.text('unit.mbps')}"
        entries.insert(3, ("subscribed", words.text("chart.subscribed", mbps=mbps)))
    return entries
