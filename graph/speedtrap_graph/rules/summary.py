"""What is kept of the runs of a bucket, and joined with those of the buckets that follow."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from speedtrap_graph.rules.doubts import LOCAL_TOOLS, is_doubted
from speedtrap_graph.rules.eras import Era, Eras
from speedtrap_graph.rules.model import Metric, Outcome
from speedtrap_graph.rules.peak import WeekClock
from speedtrap_graph.rules.sketch import Sketch
from speedtrap_graph.rules.stretch import Stretch

Series = tuple[Metric, str | None]
"""A metric, and a tool or None for the best of all: the observation."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a judged run brings to its buckets. `readings` are its tools' figures and whether they
    failed; `limits` are those of `Judgement`; moments are milliseconds since the epoch.
    """

    start_ms: int
    end_ms: int
    outcome: str
    best: Mapping[Metric, float]
    readings: Sequence[tuple[str, Mapping[Metric, float], bool]]
    limits: Mapping[Metric, float] = field(default_factory=dict)


@dataclass(slots=True)
class Summary:
    """`hours` has the observations of the download rule's metric by the hour of the week, local.

    `figures` has every series' values, and `worse` how many of them broke their metric's rule, and
    of a tool also how many outages did that it took part in; `outages_below` has all outages that
    did, by metric. `failures` has each tool that took part.
    """

    stretch: Stretch = field(default_factory=Stretch)
    hours: dict[int, Sketch] = field(default_factory=dict)
    figures: dict[Series, Sketch] = field(default_factory=dict)
    worse: dict[Series, int] = field(default_factory=dict)
    outages_below: dict[Metric, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def join(self, later: "Summary") -> None:
        """*later*, which stays as it is, follows this one."""
        self.stretch.join(later.stretch)
        for hour, sketch in later.hours.items():
            self.hours.setdefault(hour, Sketch()).merge(sketch)
        for series, sketch in later.figures.items():
            self.figures.setdefault(series, Sketch()).merge(sketch)
        add_counts(self.worse, later.worse)
        add_counts(self.outages_below, later.outages_below)
        add_counts(self.failures, later.failures)

    def settle(self) -> None:
        """Goes on with bins wherever they will do: see `Sketch.settle`."""
        for sketch in (*self.hours.values(), *self.figures.values()):
            sketch.settle()

    def take_figure(self, series: Series, value: float) -> None:
        sketch = self.figures.get(series)
        if sketch is None:
            sketch = self.figures[series] = Sketch()
        sketch.add(value)

    def take_hour(self, hour: int, value: float) -> None:
        sketch = self.hours.get(hour)
        if sketch is None:
            sketch = self.hours[hour] = Sketch()
        sketch.add(value)


K = TypeVar("K")


def add_counts(counts: dict[K, int], more: Mapping[K, int]) -> None:
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count


class Summariser:
    """Takes runs into summaries, each by the plan and the rules of its own time."""

    def __init__(self, eras: Eras, metrics: Iterable[Metric] = tuple(Metric)) -> None:
        """Of *metrics* the figures are kept; streaks and hours are always the downloads'."""
        self._eras = eras
        self._metrics = frozenset(metrics)
        self._clocks: dict[str, WeekClock] = {}

    def take(self, summary: Summary, run: RunFigures) -> None:
        """*run* is later than all that *summary* has."""
        era = self._eras.at(run.start_ms)
        hour = self._clock(era).hour_of_week(run.start_ms)
        bounds = era.bounds(hour)
        value = run.best.get(Metric.DOWNLOAD)
        verdict = _verdict(run, bounds.get(Metric.DOWNLOAD))
        summary.stretch.take(run.start_ms, run.end_ms, run.outcome, verdict)
        if value is not None:
            summary.take_hour(hour, value)
        if run.outcome == Outcome.OUTAGE:
            add_counts(summary.outages_below, dict.fromkeys(bounds, 1))
            add_counts(summary.worse, dict.fromkeys(self._taking_part(run, bounds), 1))
        for tool, _, failed in run.readings:
            summary.failures[tool] = summary.failures.get(tool, 0) + failed
        for series, figure in self._figures(run, era).items():
            summary.take_figure(series, figure)
            metric, measured_by = series
            bound = None if measured_by in LOCAL_TOOLS else bounds.get(metric)
            if bound is not None and metric.is_worse(figure, bound):
                summary.worse[series] = summary.worse.get(series, 0) + 1

    def _taking_part(self, run: RunFigures, bounds: Iterable[Metric]) -> Iterator[Series]:
        """An outage counts for the internet tools that met it."""
        for tool, _, _ in run.readings:
            if tool not in LOCAL_TOOLS:
                yield from ((metric, tool) for metric in bounds if metric in self._metrics)

    def _figures(self, run: RunFigures, era: Era) -> dict[Series, float]:
        """One figure a series. Where the best one is left out for a doubt, so are all internet
        tools'; what a local tool says about the local network stands by itself.
        """
        found: dict[Series, float] = {
            (metric, None): run.best[metric] for metric in run.best.keys() & self._metrics
        }
        for tool, figures, _ in run.readings:
            for metric in figures.keys() & self._metrics:
                if tool not in LOCAL_TOOLS and metric not in run.best:
                    continue
                series, value = (metric, tool), figures[metric]
                if tool not in LOCAL_TOOLS and is_doubted(
                    metric, value, era.at_peak.get(metric), run.limits.get(metric)
                ):
                    continue
                if series not in found or metric.is_worse(found[series], value):
                    found[series] = value
        return found

    def _clock(self, era: Era) -> WeekClock:
        clock = self._clocks.get(era.time_zone)
        if clock is None:
            clock = self._clocks[era.time_zone] = WeekClock(era.time_zone)
        return clock


def _verdict(run: RunFigures, bound: float | None) -> bool | None:
    """`judgement.broken` by the download rule."""
    if bound is None or run.outcome == Outcome.INCONCLUSIVE:
        return None
    if run.outcome == Outcome.OUTAGE:
        return True
    value = run.best.get(Metric.DOWNLOAD)
    return None if value is None else value < bound
