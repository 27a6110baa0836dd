"""The chart: runs against the subscribed throughput and the rule. Same breach, same bytes."""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from speedtrap_bots.letter.clean import clean
from speedtrap_bots.letter.runs import all_runs, said_to_the_rule
from speedtrap_bots.letter.wording import threshold
from speedtrap_bots.model import Breach, Run

_INK, _GREEN, _RED, _GREY = "#1f2937", "#15803d", "#b91c1c", "#6b7280"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same pixels everywhere
    "text.parse_math": False,  # a provider called "$x^2$" stays text
    "axes.edgecolor": _GREY,
    "text.color": _INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "speedtrap",  # without it the names in the file are random
}
KEPT, WORSE, IN_BREACH = "kept the rule", "worse, outside", "in the breach"
_KINDS = (
    (KEPT, _GREEN, "o", _GREEN),
    (WORSE, _RED, "v", "white"),
    (IN_BREACH, _RED, "v", _RED),
)
"""Label, colour, marker and filling."""
PEAK_HOURS = (19, 23)
"""Weekdays, in the plan's time zone (FCC)."""


def chart_png(breach: Breach) -> bytes:
    """A PNG of 1000 by 420 pixels, some 30 kB."""
    with mpl.rc_context(_STYLE):
        canvas = _over_time(breach)
        out = io.BytesIO()
        # Without this the file would name matplotlib's version, and differ after an update.
        canvas.print_png(out, metadata={"Software": None})  # type: ignore[no-untyped-call]  # matplotlib
    return out.getvalue()


def chart_svg(breach: Breach) -> str:
    """The same as curves, for print. Its letters are curves too: no font is needed."""
    with mpl.rc_context(_STYLE):
        return _svg(_over_time(breach))


def hours_svg(breach: Breach) -> str:
    """Each run over its hour of the day in the plan's zone, the evening's peak shaded."""
    zone = ZoneInfo(breach.plan.time_zone)
    with mpl.rc_context(_STYLE):
        canvas = FigureCanvasAgg(Figure(figsize=(10, 3.6), dpi=100, layout="constrained"))
        axes = canvas.figure.add_subplot()
        axes.axvspan(*PEAK_HOURS, color="#f3f4f6", label="peak (weekdays)")
        _points(axes, breach, lambda run: _hour(run.started_at.astimezone(zone)), size=7)
        _lines(axes, breach)
        _finish(axes, breach.rule.metric)
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 3))
        axes.set_xlabel(f"Hour of the day, {clean(breach.plan.time_zone, 40)}")
        return _svg(canvas)


def _hour(moment: datetime) -> float:
    return moment.hour + moment.minute / 60


def _over_time(breach: Breach) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(Figure(figsize=(10, 4.2), dpi=100, layout="constrained"))
    axes = canvas.figure.add_subplot()
    zone = ZoneInfo(breach.plan.time_zone)
    _points(axes, breach, lambda run: run.started_at, size=8)
    _outages(axes, all_runs(breach))
    _lines(axes, breach)
    _labels(axes, breach, zone)
    return canvas


def _svg(canvas: FigureCanvasAgg) -> str:
    out = io.BytesIO()
    canvas.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().decode()


def _drawable(text: str) -> str:
    """*text* with a question mark for what the chart's font cannot draw (emoji, Chinese)."""
    font = get_font(findfont("DejaVu Sans"))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in text)


def _points(axes: Axes, breach: Breach, place: Callable[[Run], Any], size: float) -> None:
    """Each run's figure over its *place*."""
    seen: dict[str, list[tuple[Any, float]]] = {label: [] for label, *_ in _KINDS}
    said = said_to_the_rule(breach)
    for run in all_runs(breach):
        found = said.get(run.id)
        if found is not None and found.value is not None and found.broken is not None:
            kind = KEPT if not found.broken else IN_BREACH if found.in_breach else WORSE
            seen[kind].append((place(run), found.value))
    for label, colour, marker, filling in _KINDS:
        if seen[label]:
            places, figures = zip(*seen[label], strict=True)
            axes.plot(
                places,
                figures,
                marker,
                color=colour,
                markerfacecolor=filling,
                markersize=size,
                label=label,
                zorder=3,
            )


def _outages(axes: Axes, runs: list[Run]) -> None:
    """Drawn on the floor of the chart: an outage has no figure, and is no measured zero."""
    times: list[datetime] = [run.started_at for run in runs if run.outcome == "OUTAGE"]
    if times:
        axes.plot(
            times,  # type: ignore[arg-type]  # matplotlib's stubs know no datetimes, its units do
            [0.02] * len(times),
            "x",
            color=_RED,
            markersize=9,
            markeredgewidth=2,
            label="no connection",
            transform=axes.get_xaxis_transform(),
        )


def _lines(axes: Axes, breach: Breach) -> None:
    if breach.rule.metric in {"DOWNLOAD", "UPLOAD"} and breach.subscribed_mbps > 0:
        axes.axhline(breach.subscribed_mbps, color=_INK, linewidth=1.5, label="subscribed")
    axes.axhline(threshold(breach), color=_RED, linewidth=1.2, linestyle="--", label="rule")


def _labels(axes: Axes, breach: Breach, zone: ZoneInfo) -> None:
    metric = breach.rule.metric
    name = _finish(axes, metric)
    tool = _drawable(clean(breach.rule.tool, 30)) or "best tool"
    axes.set_title(
        f"{_drawable(clean(breach.plan.provider, 40))}: {name.lower()}, {tool} of each run"
        f" ({clean(breach.reference, 20)})",
        loc="left",
        fontsize=12,
    )
    axes.set_xlabel(f"Start of the run, {clean(breach.plan.time_zone, 40)}")
    axes.margins(x=0.03)
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]  # matplotlib
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]  # matplotlib
    axes.xaxis.set_major_formatter(formatter)


def _finish(axes: Axes, metric: str) -> str:
    """What both charts share; returns the metric's name."""
    unit = "Mbps" if metric in {"DOWNLOAD", "UPLOAD"} else "ratio" if "LOSS" in metric else "ms"
    name = metric.replace("_", " ").capitalize()
    axes.set_ylabel(f"{name}, {unit}")
    axes.set_ylim(bottom=0, top=axes.dataLim.ymax * 1.08 if axes.dataLim.ymax > 0 else 1)
    axes.grid(axis="y", color="#e5e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=10)
    return name
