"""The service report: what a line delivered in a range of time, against what was bought.

The yardsticks are those of the FCC's Measuring Broadband America, brought down to one home: the
median over the subscribed speed in three bands, and the speed that 80 % of the peak hours' figures
reach. Ratios are formed run by run with the plan in force at its start, so a plan that changed
inside the range is no fault of either side.

Outages are no throughput: they are left out of medians and percentiles, and counted as spans and in
the share below the rule. Inconclusive runs count nowhere but in their own number.

It is reckoned from summaries. Those made of the runs themselves give exact figures; those that come
from rolled-up buckets give the same counts, streaks and outages, and percentiles within a percent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from speedtrap_graph.rules.doubts import LOCAL_TOOLS, is_doubted
from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import Metric, Observation, Plan, Reading, Rule
from speedtrap_graph.rules.peak import HOURS_OF_WEEK, WeekClock, is_peak
from speedtrap_graph.rules.percentiles import MEDIAN, percentiles_of_counted
from speedtrap_graph.rules.plans import plan_at, subscribed
from speedtrap_graph.rules.sketch import Sketch
from speedtrap_graph.rules.stretch import Stretch, joined
from speedtrap_graph.rules.summary import Summary, add_counts

CONSISTENT_SHARE = 0.20
"""The consistent speed is this percentile: 80 % of the observations reach it (the FCC's 80/80)."""

PERCENTILE_STEPS = tuple(step / 20 for step in range(21))
"""0 %, 5 % ... 100 %: enough to draw how often the line gives at least so much."""

FCC_HIGH = 0.95
FCC_LOW = 0.80

ENOUGH_OBSERVATIONS = 6
"""Below this many there is no verdict. Six are the fewest whose least and greatest value enclose
the true median in at least 95 % of all cases (1 - 2 * 0.5 ** 6 = 0.97), and what opens a breach by
default."""

NOT_DELIVERED_SHARE = 0.20
"""A rule broken in this share of the observations leaves no 80 % that keep it."""


class Verdict(StrEnum):
    """Whether what was bought was delivered.

    TOO_FEW: fewer than `ENOUGH_OBSERVATIONS` to compare with a plan, outages included.
    NOT_DELIVERED: the median is below `FCC_LOW` of the subscribed speed, or the rule was broken in
    at least `NOT_DELIVERED_SHARE` of the observations.
    DELIVERED: the median reaches `FCC_HIGH`, the consistent speed `FCC_LOW` (of the peak hours;
    while they have too few observations, of all), and no streak was as long as a breach.
    PARTLY: everything between.
    """

    DELIVERED = "DELIVERED"
    PARTLY = "PARTLY"
    NOT_DELIVERED = "NOT_DELIVERED"
    TOO_FEW = "TOO_FEW"


class FccBand(StrEnum):
    """The median over the subscribed speed."""

    AT_LEAST_95 = "AT_LEAST_95"
    FROM_80_TO_95 = "FROM_80_TO_95"
    BELOW_80 = "BELOW_80"


@dataclass(frozen=True, slots=True)
class SeenRun:
    """One run of the range: what it says to the rule, and what each tool said; `limit` is that of
    its `Judgement` for the rule's metric.
    """

    observation: Observation
    readings: tuple[Reading, ...]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A median in Mbps, and how many observations it stands on."""

    median: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ToolFigure:
    """One tool's median in Mbps over `n` figures, and how often it failed. `median_ratio` is that
    of its figures over the subscribed speed of their own time; None for a local tool.
    """

    tool: str
    median: float | None
    n: int
    failures: int
    median_ratio: float | None


@dataclass(frozen=True, slots=True)
class HourFigure:
    """The median of one hour of the week: weekday 0 Monday to 6 Sunday, hour 0 to 23, local; and
    the median of its observations over the subscribed speed of their own time.
    """

    weekday: int
    hour: int
    median: float | None
    n: int
    median_ratio: float | None


@dataclass(frozen=True, slots=True)
class OutageSummary:
    """Outages merged into spans, and their lengths together: see `Stretch.outages_in_spans`."""

    count: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """A line in [since, until) against its plan (the latest of the range). Throughputs in Mbps.

    `n` counts the runs behind the median; `below_count` and `below_share` the observations that
    broke the rule, outages included, the latter over all that broke or kept it. `hours` has the
    hours with observations only, in the order of the week. The verdict stands on `judged_runs`
    observations and outages under a plan, and on the consistent speed of the peak or, where
    `judged_by_peak` is False, of all hours. `percentiles` are those of `PERCENTILE_STEPS`, or
    none without observations. `exact`: every figure is of the runs themselves; otherwise
    percentiles are within 1 %.
    """

    probe: str
    since: datetime
    until: datetime
    plan: Plan | None
    verdict: Verdict
    judged_runs: int
    judged_by_peak: bool
    n: int
    outage_runs: int
    inconclusive_runs: int
    median_mbps: float | None
    median_ratio: float | None
    fcc_band: FccBand | None
    consistent_mbps: float | None
    consistent_ratio: float | None
    peak: Figure
    off_peak: Figure
    below_count: int
    below_share: float | None
    outages: OutageSummary
    longest_streak: int
    current_streak: int
    tools: tuple[ToolFigure, ...]
    hours: tuple[HourFigure, ...]
    percentiles: tuple[float, ...]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """The runs of the range that fall into one plan's time, summed up."""

    plan: Plan | None
    summary: Summary


def service_report(
    probe: str,
    since: datetime,
    until: datetime,
    runs: Sequence[SeenRun],
    plans: Sequence[Plan],
    rule: Rule,
) -> ServiceReport:
    """The report on *runs* of [*since*, *until*), sorted by start; *plans* sorted by `since`.

    The local time of a run is that of the plan in force; without one it is UTC.
    """
    parts: list[Part] = []
    clocks: dict[str, WeekClock] = {}
    for run in runs:
        plan = plan_at(plans, run.observation.started_at)
        if not parts or parts[-1].plan != plan:
            parts.append(Part(plan, Summary()))
        zone = "UTC" if plan is None else plan.time_zone
        clock = clocks.setdefault(zone, WeekClock(zone))
        _take(parts[-1].summary, run, rule, clock)
    return report_of(probe, since, until, parts, plans, rule)


def report_of(
    probe: str,
    since: datetime,
    until: datetime,
    parts: Sequence[Part],
    plans: Sequence[Plan],
    rule: Rule,
    usual_ms: float | None = None,
) -> ServiceReport:
    """The report on what *parts* sum up, in the order of time; *usual_ms* as in `Stretch`."""
    line = joined(part.summary.stretch for part in parts)
    hours = _merged_hours(parts)
    everything = _merged(hours.values())
    busy = [hour for hour in hours if is_peak(*divmod(hour, 24))]
    peak = _merged(hours[hour] for hour in busy)
    ratios, peak_ratios = _Ratios(parts, rule.metric), _Ratios(parts, rule.metric, busy)
    median_ratio = ratios.percentile(MEDIAN)
    by_peak = peak_ratios.n >= ENOUGH_OBSERVATIONS
    outages_judged = sum(
        part.summary.stretch.outages
        for part in parts
        if subscribed(part.plan, rule.metric) is not None
    )
    judged_runs = ratios.n + outages_judged
    below_share = line.bad / (line.bad + line.good) if line.bad + line.good else None
    outage_count, outage_s = line.outages_in_spans(usual_ms)
    return ServiceReport(
        probe=probe,
        since=since,
        until=until,
        plan=plan_at([plan for plan in plans if plan.since < until], until),
        verdict=(
            _verdict(line, ratios, peak_ratios if by_peak else ratios, rule)
            if judged_runs >= ENOUGH_OBSERVATIONS
            else Verdict.TOO_FEW
        ),
        judged_runs=judged_runs,
        judged_by_peak=by_peak,
        n=everything.n,
        outage_runs=line.outages,
        inconclusive_runs=line.inconclusive,
        median_mbps=everything.percentile(MEDIAN),
        median_ratio=median_ratio,
        fcc_band=None if median_ratio is None else fcc_band(median_ratio),
        consistent_mbps=peak.percentile(CONSISTENT_SHARE),
        consistent_ratio=peak_ratios.percentile(CONSISTENT_SHARE),
        peak=_figure(peak),
        off_peak=_figure(_merged(hours[hour] for hour in hours.keys() - set(busy))),
        below_count=line.bad,
        below_share=below_share,
        outages=OutageSummary(outage_count, outage_s),
        longest_streak=line.longest,
        current_streak=line.trailing,
        tools=_tools(parts, rule.metric),
        hours=_hours(parts, hours, rule.metric),
        percentiles=tuple(
            value for value in everything.percentiles(*PERCENTILE_STEPS) if value is not None
        ),
    )


def fcc_band(ratio: float) -> FccBand:
    """The FCC's band of a median over subscribed speed."""
    if _reaches(ratio, FCC_HIGH):
        return FccBand.AT_LEAST_95
    return FccBand.FROM_80_TO_95 if _reaches(ratio, FCC_LOW) else FccBand.BELOW_80


def _reaches(ratio: float, bound: float) -> bool:
    """As decimals: 54.15 of 57 is 0.95, where binary floats make it 0.9499999999999999."""
    return round(ratio, 12) >= bound


def _take(summary: Summary, run: SeenRun, rule: Rule, clock: WeekClock) -> None:
    seen = run.observation
    start_ms, end_ms = (round(at.timestamp() * 1000) for at in (seen.started_at, seen.finished_at))
    summary.stretch.take(start_ms, end_ms, seen.outcome, broken(seen, rule))
    if seen.value is not None:
        summary.take_hour(clock.hour_of_week(start_ms), seen.value)
    figures: dict[str, float] = {}
    better = max if rule.metric.more_is_better else min
    for reading in run.readings:
        add_counts(summary.failures, {reading.tool: int(reading.failure is not None)})
        figure = _tool_figure(run, reading, rule.metric)
        if figure is not None:
            # Who looked twice, on another server, has measured once: the better figure counts.
            figures[reading.tool] = better(figures.get(reading.tool, figure), figure)
    for tool, figure in figures.items():
        summary.take_figure((rule.metric, tool), figure)


def _tool_figure(run: SeenRun, reading: Reading, metric: Metric) -> float | None:
    """The figure of one tool that counts: an internet tool's only if the run has an observation.

    A doubtful run makes each of its internet tools' figures doubtful. What a local tool says about
    the local network stands by itself.
    """
    value = reading.figures.get(metric)
    if reading.tool in LOCAL_TOOLS or value is None:
        return value
    if run.observation.value is None:
        return None
    return None if is_doubted(metric, value, run.observation.threshold, run.limit) else value


class _Ratios:
    """Observations over the subscribed speed of their own time; of some hours of the week only."""

    def __init__(
        self, parts: Iterable[Part], metric: Metric, hours: Iterable[int] = range(HOURS_OF_WEEK)
    ) -> None:
        self._counted: list[tuple[float, int]] = []
        wanted = frozenset(hours)
        for part in parts:
            promised = subscribed(part.plan, metric)
            if promised is None:
                continue
            mine = part.summary.hours
            sketch = _merged(mine[hour] for hour in mine.keys() & wanted)
            self._counted += [(value / promised, count) for value, count in sketch.counted()]
        self.n = sum(count for _, count in self._counted)

    def percentile(self, share: float) -> float | None:
        return percentiles_of_counted(self._counted, share)[0]


def _verdict(line: Stretch, ratios: _Ratios, busy: _Ratios, rule: Rule) -> Verdict:
    typical = ratios.percentile(MEDIAN)
    often_below = line.bad > 0 and line.bad / (line.bad + line.good) >= NOT_DELIVERED_SHARE
    if typical is None or not _reaches(typical, FCC_LOW) or often_below:
        return Verdict.NOT_DELIVERED
    consistent = busy.percentile(CONSISTENT_SHARE) or 0.0
    delivered = _reaches(typical, FCC_HIGH) and _reaches(consistent, FCC_LOW)
    if delivered and line.longest <= rule.more_than:
        return Verdict.DELIVERED
    return Verdict.PARTLY


def _merged(sketches: Iterable[Sketch]) -> Sketch:
    merged = Sketch()
    for sketch in sketches:
        merged.merge(sketch)
    return merged


def _merged_hours(parts: Iterable[Part]) -> dict[int, Sketch]:
    hours: dict[int, Sketch] = {}
    for part in parts:
        for hour, sketch in part.summary.hours.items():
            hours.setdefault(hour, Sketch()).merge(sketch)
    return hours


def _figure(sketch: Sketch) -> Figure:
    return Figure(sketch.percentile(MEDIAN), sketch.n)


def _tools(parts: Iterable[Part], metric: Metric) -> tuple[ToolFigure, ...]:
    """Internet tools by name, then the local ones."""
    failures: dict[str, int] = {}
    figures: dict[str, Sketch] = {}
    for part in parts:
        add_counts(failures, part.summary.failures)
        for (measured, tool), sketch in part.summary.figures.items():
            if measured == metric and tool is not None:
                figures.setdefault(tool, Sketch()).merge(sketch)
    return tuple(
        _tool(parts, metric, tool, figures.get(tool, Sketch()), failures[tool])
        for tool in sorted(failures, key=lambda tool: (tool in LOCAL_TOOLS, tool))
    )


def _tool(
    parts: Iterable[Part], metric: Metric, tool: str, figures: Sketch, failures: int
) -> ToolFigure:
    ratio = None
    if tool not in LOCAL_TOOLS:
        mine = ((part.plan, part.summary.figures.get((metric, tool))) for part in parts)
        ratio = _median_ratio(mine, metric)
    return ToolFigure(tool, figures.percentile(MEDIAN), figures.n, failures, ratio)


def _hours(
    parts: Sequence[Part], hours: dict[int, Sketch], metric: Metric
) -> tuple[HourFigure, ...]:
    return tuple(
        HourFigure(
            *divmod(hour, 24),
            sketch.percentile(MEDIAN),
            sketch.n,
            _median_ratio(((part.plan, part.summary.hours.get(hour)) for part in parts), metric),
        )
        for hour, sketch in sorted(hours.items())
    )


def _median_ratio(
    sketches: Iterable[tuple[Plan | None, Sketch | None]], metric: Metric
) -> float | None:
    """The median of figures over what was promised at their time."""
    counted: list[tuple[float, int]] = []
    for plan, sketch in sketches:
        promised = subscribed(plan, metric)
        if promised is not None and sketch is not None:
            counted += [(value / promised, count) for value, count in sketch.counted()]
    return percentiles_of_counted(counted, MEDIAN)[0]
