"""The chart as it comes from the server: a still picture (SVG) and a table of the same numbers.

The script of the page puts the live chart in the picture's place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil, floor, log10

from speedtrap_web.graphql.answers import Breach, History, Rule
from speedtrap_web.views.line.metrics import METRICS, Metric
from speedtrap_web.views.words import Words

DOWNLOAD = METRICS["download"]
DAY_S = 24 * 3600

WIDTH = 1000.0
HEIGHT = 300.0
"""The picture's own units; the browser stretches them to the place there is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One bucket as text."""

    start: str
    iso: str
    median: str
    p10: str
    p90: str
    n: int
    below: int
    outages: int
    inconclusive: int


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """A label or a tick at a share of the width or height, in percent from the left or the top."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Dot:
    """One run; `broke` when it is held against the line."""

    x: float
    y: float
    broke: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Paths in WIDTH x HEIGHT units; `dots` where single runs are shown."""

    band: str
    median: str
    subscribed: str
    threshold: str
    low: tuple[tuple[float, float], ...]
    breaches: tuple[Span, ...]
    outages: tuple[float, ...]
    inconclusive: tuple[float, ...]
    y_marks: tuple[AxisLabel, ...]
    x_marks: tuple[AxisLabel, ...]
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    picture: Picture
    rows: tuple[Row, ...]
    bucket: str
    empty: bool


def chart(
    history: History,
    rule: Rule | None,
    breaches: list[Breach],
    words: Words,
    metric: Metric = DOWNLOAD,
) -> Chart:
    """*rule* is the one for *metric*, if there is one."""
    return Chart(
        picture=_picture(history, rule, breaches, words, metric),
        rows=tuple(_rows(history, words, metric)),
        bucket=bucket_words(history.bucket_s, words),
        empty=not any(history.n) and not any(history.outages) and not any(history.inconclusive),
    )


def bucket_words(bucket_s: float, words: Words) -> str:
    hours = round(bucket_s / 3600)
    if hours <= 1:
        return words.text("chart.bucket.hour")
    if hours % 24:
        return words.text("chart.bucket.hours", n=hours)
    days = hours // 24
    return words.text("chart.bucket.day") if days == 1 else words.text("chart.bucket.days", n=days)


def bucket_label(start: float, bucket_s: float, words: Words) -> str:
    """A bucket of whole days is called by the day of its middle: days are 23 to 25 hours long."""
    moment = datetime.fromtimestamp(start, UTC)
    if bucket_s < DAY_S:
        return words.when(moment)
    return words.day(moment + timedelta(hours=12))


def _rows(history: History, words: Words, metric: Metric) -> list[Row]:
    """Newest first, as the eye wants it."""

    def written(value: float | None) -> str:
        return metric.figure(value, words)

    rows = []
    for i, start in enumerate(history.t):
        moment = datetime.fromtimestamp(start, UTC)
        label = bucket_label(start, history.bucket_s, words)
        rows.append(
            Row(
                start=label,
                iso=moment.isoformat(),
                median=written(history.median[i]),
                p10=written(history.p10[i]),
                p90=written(history.p90[i]),
                n=history.n[i],
                below=history.below[i],
                outages=history.outages[i],
                inconclusive=history.inconclusive[i],
            )
        )
    return rows[::-1]


@dataclass(frozen=True, slots=True)
class _Scale:
    start: float
    span: float
    top: float

    def x(self, seconds: float) -> float:
        return round((seconds - self.start) / self.span * WIDTH, 1)

    def y(self, mbps: float) -> float:
        return round(HEIGHT - mbps / self.top * HEIGHT, 1)


def _picture(
    history: History,
    rule: Rule | None,
    breaches: list[Breach],
    words: Words,
    metric: Metric,
) -> Picture:
    figures = [v for v in (*history.max, *history.subscribed_mbps) if v is not None]
    step = nice_step(max(figures, default=100) * 1.05)
    span = history.bucket_s * len(history.t)
    scale = _Scale(history.t[0], span, step * max(1, ceil(max(figures, default=100) * 1.02 / step)))
    thresholds = [
        rule.threshold(subscribed) if rule else None for subscribed in history.subscribed_mbps
    ]
    centre = history.bucket_s / 2
    return Picture(
        band=_band(history, scale),
        median=_steps(history.t, history.bucket_s, history.median, scale),
        subscribed=_steps(history.t, history.bucket_s, history.subscribed_mbps, scale),
        threshold=_steps(history.t, history.bucket_s, thresholds, scale),
        low=tuple(_worse(history, thresholds, metric, scale)),
        breaches=tuple(_spans(breaches, _open_end(history, words), scale)),
        outages=tuple(
            scale.x(t + centre) for t, n in zip(history.t, history.outages, strict=True) if n
        ),
        inconclusive=tuple(
            scale.x(t + centre) for t, n in zip(history.t, history.inconclusive, strict=True) if n
        ),
        y_marks=tuple(
            AxisLabel(round(scale.y(v * step) / HEIGHT * 100, 1), words.catalogue.number(v * step))
            for v in range(round(scale.top / step) + 1)
        ),
        x_marks=tuple(_x_marks(history, words)),
    )


def _worse(
    history: History, thresholds: list[float | None], metric: Metric, scale: _Scale
) -> Iterator[tuple[float, float]]:
    """The worst figure of each bucket in which one broke the bound."""
    worst = history.max if metric.worse_above else history.min
    for t, value, bound in zip(history.t, worst, thresholds, strict=True):
        if value is None or bound is None:
            continue
        if value > bound if metric.worse_above else value < bound:
            yield scale.x(t + history.bucket_s / 2), scale.y(value)


def nice_step(top: float) -> float:
    """1, 2 or 5 times a power of ten, so that about five steps reach *top*."""
    rough = max(top, 1e-6) / 5
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _steps(starts: list[float], bucket_s: float, values: list[float | None], scale: _Scale) -> str:
    """A stair; where a bucket is empty the pen is lifted, so that a gap stays a gap."""
    path, down = [], False
    for start, value in zip(starts, values, strict=True):
        if value is None:
            down = False
            continue
        y = scale.y(value)
        path.append(f"{'L' if down else 'M'}{scale.x(start)} {y}H{scale.x(start + bucket_s)}")
        down = True
    return "".join(path)


def _band(history: History, scale: _Scale) -> str:
    boxes = []
    for start, low, high in zip(history.t, history.p10, history.p90, strict=True):
        if low is None or high is None:
            continue
        left, right = scale.x(start), scale.x(start + history.bucket_s)
        boxes.append(f"M{left} {scale.y(high)}H{right}V{scale.y(low)}H{left}Z")
    return "".join(boxes)


def _open_end(history: History, words: Words) -> datetime:
    """Up to where an open breach is shaded: the end of the bucket that is being filled, as far as
    the lines are drawn.
    """
    ends = (datetime.fromtimestamp(t + history.bucket_s, UTC) for t in history.t)
    end = next((end for end in ends if end > words.now), words.now)
    words.freshness.ends(end)
    return end


def _spans(breaches: list[Breach], open_end: datetime, scale: _Scale) -> list[Span]:
    spans = []
    for breach in breaches:
        if breach.status == "RETRACTED":
            continue
        left = max(0.0, scale.x(breach.first_run_at.timestamp()))
        right = min(WIDTH, scale.x((breach.resolved_at or open_end).timestamp()))
        if right > left:
            spans.append(Span(left, max(2.0, right - left)))
    return spans


@dataclass(frozen=True, slots=True)
class TwiceShown:
    """A span whose times of day another shows too, and the zone's abbreviation; epoch seconds."""

    start: float
    until: float
    zone: str


def twice_shown(since: datetime, until: datetime, zone: tzinfo) -> list[TwiceShown]:
    """Where clocks are set back, the time before and the time after."""
    found = []
    day = since - timedelta(days=1)
    while day < until:
        before, after = day.astimezone(zone), (day + timedelta(days=1)).astimezone(zone)
        back = (before.utcoffset() or timedelta()) - (after.utcoffset() or timedelta())
        if back > timedelta():
            turn = _change_between(day, day + timedelta(days=1), zone)
            for start, name in ((turn - back, before), (turn, after)):
                end = start + back
                found.append(TwiceShown(start.timestamp(), end.timestamp(), f"{name:%Z}"))
        day += timedelta(days=1)
    return found


def _change_between(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """To the minute, by halves."""
    early, late = (moment.replace(second=0, microsecond=0) for moment in (early, late))
    old = early.astimezone(zone).utcoffset()
    while late - early > timedelta(minutes=1):
        middle = (early + (late - early) // 2).replace(second=0, microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            early = middle
        else:
            late = middle
    return late


def _x_marks(history: History, words: Words) -> list[AxisLabel]:
    """About five labels, each at the start of a bucket."""
    count = len(history.t)
    every = max(1, ceil(count / 5))
    hourly = history.bucket_s < 6 * 3600
    middle = timedelta(hours=12 if history.bucket_s >= DAY_S else 0)
    marks = []
    for i in range(0, count, every):
        moment = datetime.fromtimestamp(history.t[i], UTC)
        label = (
            words.catalogue.clock(moment.astimezone(words.zone))
            if hourly
            else words.catalogue.date(moment + middle, words.zone)
        )
        marks.append(AxisLabel(round(i / count * 100, 1), label))
    return marks
