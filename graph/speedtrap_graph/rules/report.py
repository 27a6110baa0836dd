"""The service report: what a line delivered in a range of time, against what was bought.

The yardsticks are those of the FCC's Measuring Broadband America, brought down to one home: the
median over the subscribed speed in three bands, and the speed that 80 % of the peak hours' figures
reach. Ratios are formed run by run with the plan in force at its start, so a plan that changed
inside the range is no fault of either side.

Outages are no throughput: they are left out of medians and percentiles, and counted as spans and in
the share below the rule. Inconclusive runs count nowhere but in their own number.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from speedtrap_graph.rules.judgement import LOCAL_TOOLS, broken
from speedtrap_graph.rules.model import Metric, Observation, Outcome, Plan, Reading, Rule
from speedtrap_graph.rules.peak import is_peak, local_hour
from speedtrap_graph.rules.percentiles import median, percentile
from speedtrap_graph.rules.plans import plan_at, subscribed
from speedtrap_graph.rules.streaks import longest_streak, streak

CONSISTENT_SHARE = 0.20
"""The consistent speed is this percentile: 80 % of the observations reach it (the FCC's 80/80)."""

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
    """One run of the range: what it says to the rule, and what each tool said."""

    observation: Observation
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A median in Mbps, and how many observations it stands on."""

    median: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ToolFigure:
    """One tool's median in Mbps over `n` figures, and how often it failed."""

    tool: str
    median: float | None
    n: int
    failures: int


@dataclass(frozen=True, slots=True)
class HourFigure:
    """The median of one hour of the week: weekday 0 Monday to 6 Sunday, hour 0 to 23, local."""

    weekday: int
    hour: int
    median: float | None
    n: int


@dataclass(frozen=True, slots=True)
class OutageSummary:
    """Outages merged into spans, and their lengths together."""

    count: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """A line in [since, until) against its plan (the latest of the range). Throughputs in Mbps.

    `n` counts the MEASURED runs; `below_count` and `below_share` the observations that broke the
    rule, outages included, the latter over all that broke or kept it. `hours` has the hours with
    observations only, in the order of the week.
    """

    probe: str
    since: datetime
    until: datetime
    plan: Plan | None
    verdict: Verdict
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


@dataclass(frozen=True, slots=True)
class _Sample:
    """One measured value, its ratio to the plan in force, and when it was, on the local clock."""

    value: float
    ratio: float | None
    at_peak: bool
    weekday: int
    hour: int


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
    observations = [run.observation for run in runs]
    samples = list(_samples(observations, plans, rule.metric))
    at_peak = [sample for sample in samples if sample.at_peak]
    off_peak = [sample for sample in samples if not sample.at_peak]
    verdicts = [broken(observation, rule) for observation in observations]
    bad, good = verdicts.count(True), verdicts.count(False)
    compared = _compared(observations, plans, rule.metric)
    outcomes = [observation.outcome for observation in observations]
    below_share = bad / (bad + good) if bad + good else None
    median_ratio = median(_ratios(samples))
    longest = longest_streak(observations, rule)
    return ServiceReport(
        probe=probe,
        since=since,
        until=until,
        plan=plan_at([plan for plan in plans if plan.since < until], until),
        verdict=_verdict(samples, compared, below_share, breached=longest > rule.more_than),
        n=outcomes.count(Outcome.MEASURED),
        outage_runs=outcomes.count(Outcome.OUTAGE),
        inconclusive_runs=outcomes.count(Outcome.INCONCLUSIVE),
        median_mbps=median(sample.value for sample in samples),
        median_ratio=median_ratio,
        fcc_band=None if median_ratio is None else fcc_band(median_ratio),
        consistent_mbps=percentile((sample.value for sample in at_peak), CONSISTENT_SHARE),
        consistent_ratio=percentile(_ratios(at_peak), CONSISTENT_SHARE),
        peak=_figure(at_peak),
        off_peak=_figure(off_peak),
        below_count=bad,
        below_share=below_share,
        outages=_outages(observations),
        longest_streak=longest,
        current_streak=streak(observations, rule),
        tools=_tools(runs, rule.metric),
        hours=_hours(samples),
    )


def fcc_band(ratio: float) -> FccBand:
    """The FCC's band of a median over subscribed speed."""
    if ratio >= FCC_HIGH:
        return FccBand.AT_LEAST_95
    return FccBand.FROM_80_TO_95 if ratio >= FCC_LOW else FccBand.BELOW_80


def _samples(
    observations: Iterable[Observation], plans: Sequence[Plan], metric: Metric
) -> Iterator[_Sample]:
    for observation in observations:
        if observation.value is None:
            continue
        plan = plan_at(plans, observation.started_at)
        promised = subscribed(plan, metric)
        zone = "UTC" if plan is None else plan.time_zone
        weekday, hour = local_hour(observation.started_at, zone)
        yield _Sample(
            value=observation.value,
            ratio=None if promised is None else observation.value / promised,
            at_peak=is_peak(weekday, hour),
            weekday=weekday,
            hour=hour,
        )


def _ratios(samples: Iterable[_Sample]) -> list[float]:
    return [sample.ratio for sample in samples if sample.ratio is not None]


def _compared(observations: Sequence[Observation], plans: Sequence[Plan], metric: Metric) -> int:
    """How many observations there are to hold against a plan, outages included."""
    return sum(
        (observation.value is not None or observation.outcome is Outcome.OUTAGE)
        and subscribed(plan_at(plans, observation.started_at), metric) is not None
        for observation in observations
    )


def _verdict(
    samples: Sequence[_Sample], compared: int, below_share: float | None, *, breached: bool
) -> Verdict:
    if compared < ENOUGH_OBSERVATIONS:
        return Verdict.TOO_FEW
    typical = median(_ratios(samples))
    often_below = below_share is not None and below_share >= NOT_DELIVERED_SHARE
    if typical is None or typical < FCC_LOW or often_below:
        return Verdict.NOT_DELIVERED
    at_peak = [sample for sample in samples if sample.at_peak]
    busy = at_peak if len(_ratios(at_peak)) >= ENOUGH_OBSERVATIONS else samples
    consistent = percentile(_ratios(busy), CONSISTENT_SHARE) or 0.0
    if typical >= FCC_HIGH and consistent >= FCC_LOW and not breached:
        return Verdict.DELIVERED
    return Verdict.PARTLY


def _figure(samples: Sequence[_Sample]) -> Figure:
    return Figure(median(sample.value for sample in samples), len(samples))


def _outages(observations: Iterable[Observation]) -> OutageSummary:
    """Outage runs in a row are one outage.

    It lasts from the start of the first to the start of the next run that is not one; while none
    followed in the range, to the end of the last.
    """
    count, duration_s = 0, 0.0
    began = ended = None
    for observation in observations:
        if observation.outcome is Outcome.OUTAGE:
            began = began or observation.started_at
            ended = observation.finished_at
        elif began is not None:
            count += 1
            duration_s += (observation.started_at - began).total_seconds()
            began = None
    if began is not None and ended is not None:
        count += 1
        duration_s += (ended - began).total_seconds()
    return OutageSummary(count, duration_s)


def _tool_figure(run: SeenRun, reading: Reading, metric: Metric) -> float | None:
    """The figure of one tool that counts: an internet tool's only if the run has an observation.

    A doubtful run makes each of its internet tools' figures doubtful. What a local tool says about
    the local network stands by itself.
    """
    if reading.tool not in LOCAL_TOOLS and run.observation.value is None:
        return None
    return reading.figures.get(metric)


def _tools(runs: Iterable[SeenRun], metric: Metric) -> tuple[ToolFigure, ...]:
    """Internet tools by name, then the local ones."""
    figures: dict[str, list[float]] = defaultdict(list)
    failures: dict[str, int] = defaultdict(int)
    for run in runs:
        for reading in run.readings:
            failures[reading.tool] += reading.failure is not None
            figure = _tool_figure(run, reading, metric)
            if figure is not None:
                figures[reading.tool].append(figure)
    return tuple(
        ToolFigure(tool, median(figures[tool]), len(figures[tool]), failures[tool])
        for tool in sorted(failures, key=lambda tool: (tool in LOCAL_TOOLS, tool))
    )


def _hours(samples: Iterable[_Sample]) -> tuple[HourFigure, ...]:
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    for sample in samples:
        cells[sample.weekday, sample.hour].append(sample.value)
    return tuple(
        HourFigure(weekday, hour, median(values), len(values))
        for (weekday, hour), values in sorted(cells.items())
    )
