"""When it is slow: medians by weekday and hour, in steps of four hours while runs are few."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from speedtrap_web.graphql.answers import HourFigure, ServiceReport
from speedtrap_web.views.words import Words

SPARSE_PER_HOUR = 2
"""Under two runs an hour of the week on average, single hours say more about chance."""
SPARSE_STEP_H = 4
LEVELS = (0.5, 0.65, 0.8, 0.95)
"""Upper bounds of the colour levels 0..4, as ratios of the subscribed speed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`level` 0 (slow) to 4, or None: nothing measured, or nothing to compare with."""

    value: str
    n: int
    level: int | None
    label: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Seven rows, Monday first, of 24 / `step_h` cells."""

    step_h: int
    hours: tuple[str, ...]
    days: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    unit: str


def heat_map(report: ServiceReport, words: Words) -> HeatMap | None:
    total = sum(figure.n for figure in report.hours)
    if total == 0:
        return None
    step = 1 if total >= SPARSE_PER_HOUR * 168 else SPARSE_STEP_H
    by_hour = {(figure.weekday, figure.hour): figure for figure in report.hours}
    has_plan = report.plan is not None
    rows = []
    for weekday in range(7):
        row = []
        for hour in range(0, 24, step):
            figures = [
                by_hour[weekday, h] for h in range(hour, hour + step) if (weekday, h) in by_hour
            ]
            place = (words.catalogue.weekdays[weekday], hours_label(hour, step))
            row.append(_cell(figures, place, words, has_plan=has_plan))
        rows.append(tuple(row))
    unit = "heat.unit.ratio" if has_plan else "heat.unit.mbps"
    return HeatMap(
        step_h=step,
        hours=tuple(f"{hour:02}" for hour in range(0, 24, step)),
        days=words.catalogue.weekdays,
        rows=tuple(rows),
        unit=words.text(unit),
    )


def hours_label(hour: int, step: int) -> str:
    return f"{hour:02}:00-{(hour + step) % 24:02}:00".replace("-", "\N{EN DASH}")


def _cell(
    figures: Sequence[HourFigure], place: tuple[str, str], words: Words, *, has_plan: bool
) -> Cell:
    n = sum(figure.n for figure in figures)
    medians = [(f.median_ratio if has_plan else f.median, f.n) for f in figures]
    median = weighted_median((value, n) for value, n in medians if value is not None)
    day, hours = place
    if median is None:
        return Cell("", 0, None, f"{day} {hours}: {words.text('heat.none')}")
    if has_plan:
        value, spoken = words.catalogue.number(median * 100), words.catalogue.percent(median)
        level = sum(median >= bound for bound in LEVELS)
    else:
        value, spoken, level = words.catalogue.mbps(median), words.catalogue.mbps(median), None
    return Cell(value, n, level, words.text("heat.cell", day=day, hours=hours, value=spoken, n=n))


def weighted_median(figures: Iterable[tuple[float, int]]) -> float | None:
    """The middle of hourly medians, each counted as often as it was measured."""
    ordered = sorted(figures)
    half = sum(n for _, n in ordered) / 2
    seen = 0
    for index, (value, n) in enumerate(ordered):
        seen += n
        if seen == half and index + 1 < len(ordered):
            return (value + ordered[index + 1][0]) / 2
        if seen >= half:
            return value
    return None
