"""The history of one line in columns, one entry a bucket of time: what a chart draws."""

from asyncio import to_thread
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.doubts import LOCAL_TOOLS
from speedtrap_graph.rules.grid import Grid, Level, cover
from speedtrap_graph.rules.model import Metric, Outcome, Plan, Rule
from speedtrap_graph.rules.percentiles import MEDIAN, percentiles
from speedtrap_graph.rules.plans import plan_at, subscribed, threshold
from speedtrap_graph.rules.sketch import Sketch
from speedtrap_graph.rules.summary import Series, Summariser, Summary
from speedtrap_graph.services.history.rollups import END_MS, FIRST_MS, Rollups
from speedtrap_graph.services.judging.readings import FigureReader
from speedtrap_graph.store.rollups import milliseconds, moment_of, of_series

MOST_BUCKETS = 2000

READ_PER_BUCKET = 4
"""So many hours or days are read for each bucket of the answer at most; finer ones would cost more
time than they show."""

_MOST_DAYS = 8000
"""Of a range whose buckets are looked up in the calendar one by one: more than twenty years."""

_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)

Expression = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """[since, until) of one probe in at most `buckets` buckets of equal width.

    With `tool`, that tool's own figures stand in for the best of all.
    """

    probe: str
    since: datetime
    until: datetime
    metric: Metric = Metric.DOWNLOAD
    tool: str | None = None
    buckets: int = 600


@dataclass(frozen=True, slots=True)
class History:
    """Columns of equal length, in the metric's unit. A bucket without a figure is None, never 0.

    `t` is each bucket's start in seconds since the epoch; where they are local days or months,
    `bucket_s` is how long they usually are, and `t` says how long each is. `n` counts figures;
    `below` the runs that broke the rule, outages included; `outages` and `inconclusive` runs with
    that outcome. `subscribed_mbps` is of the plan in force as the bucket ends. `exact`: every
    figure is of the runs themselves.
    """

    probe: str
    metric: Metric
    tool: str | None
    bucket_s: float
    t: tuple[float, ...]
    median: tuple[float | None, ...]
    p10: tuple[float | None, ...]
    p90: tuple[float | None, ...]
    min: tuple[float | None, ...]
    max: tuple[float | None, ...]
    n: tuple[int, ...]
    below: tuple[int, ...]
    outages: tuple[int, ...]
    inconclusive: tuple[int, ...]
    subscribed_mbps: tuple[float | None, ...]
    exact: bool


class Bucket(NamedTuple):
    """The summary of one bucket that holds at least one run."""

    median: float | None = None
    p10: float | None = None
    p90: float | None = None
    min: float | None = None
    max: float | None = None
    n: int = 0
    below: int = 0
    outages: int = 0
    inconclusive: int = 0


@dataclass(frozen=True, slots=True)
class _Axis:
    """The buckets' usual width and their starts, and the level they are made of if they are."""

    width_ms: int
    starts: list[int]
    level: Level | None = None

    def stretches(self, until_ms: int) -> list[tuple[int, int, int]]:
        """The buckets that follow each other in one width: the number of the first, its start, and
        that width. There is a new one where clocks are set, and where a range begins or ends.
        """
        ends = [*self.starts[1:], until_ms]
        found: list[tuple[int, int, int]] = []
        for number, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            width = end - start
            is_cut_off = number == len(self.starts) - 1 and bool(found) and width < found[-1][2]
            if not found or (width != found[-1][2] and not is_cut_off):
                found.append((number, start, width))
        return found


async def history(
    database: AsyncDatabase[dict[str, Any]],
    query: HistoryQuery,
    plans: Sequence[Plan],
    rules: Mapping[Metric, Rule],
) -> History:
    """The history that *query* asks for; *plans* are those of the probe, sorted by `since`.

    Up to `rollups.EXACT_RUNS` runs every figure is exact, and the buckets are as wide as they were
    asked for; those of a day or more are whole days of the newest plan's calendar, which has a day
    of 23 or 25 hours where clocks are set. Beyond that they are made of rolled-up hours, days or
    months, so that the work depends on `buckets`: each is a whole number of them in that calendar.
    Such buckets are cut off where the range is, and there may be fewer than asked for. From
    rollups, percentiles are within 1 %, all else is exact.
    """
    _check(query)
    rollups = Rollups(database, query.probe, plans, rules)
    if await rollups.may_be_exact(query.since, query.until):
        axis = _as_asked(query, rollups.grid)
        rule = rollups.rules.get(query.metric)
        if query.tool is None and not (rule and rule.only_at_peak):
            filled = await _from_runs(database, query, axis, _bound(query, plans, rule))
        else:
            filled = await _one_by_one(rollups, query, axis)
        return _columns(query, axis, filled, plans, exact=True)
    axis = _of_rollups(query, rollups.grid)
    filled = await _from_rollups(rollups, query, axis)
    return _columns(query, axis, filled, plans, exact=False)


def _check(query: HistoryQuery) -> None:
    if not 1 <= query.buckets <= MOST_BUCKETS:
        raise BadInputError(
            f"buckets must be 1 to {MOST_BUCKETS}, not {query.buckets}", field="buckets"
        )
    if query.since >= query.until:
        raise BadInputError("until must be later than since", field="until")


def _width_ms(query: HistoryQuery) -> int:
    """Whole milliseconds, the store's resolution, so that no run falls between two buckets."""
    span = (query.until - query.since) // _MILLISECOND
    return max(1, -(-span // query.buckets))


async def _from_runs(
    database: AsyncDatabase[dict[str, Any]], query: HistoryQuery, axis: _Axis, bound: Expression
) -> dict[int, Bucket]:
    """The buckets that hold runs, by their number, from the raw runs.

    The server only sorts figures into buckets: what it would take to find percentiles and to count
    what is below costs it twice the time that it takes here.
    """
    number = _number(axis.stretches(milliseconds(query.until)))
    pipeline: list[Expression] = [
        {"$match": _in_range(query)},
        {
            "$group": {
                "_id": number if "$literal" in bound else {"number": number, "bound": bound},
                # A run has a figure or else an outcome that says why not.
                "told": {"$push": {"$ifNull": [f"$best.{query.metric}", "$outcome"]}},
            }
        },
    ]
    cursor = await database["runs"].aggregate(pipeline, allowDiskUse=True)
    groups = await cursor.to_list()

    def compute() -> dict[int, Bucket]:
        by_number: dict[int, list[_Group]] = {}
        for row in groups:
            key = row["_id"]
            if not isinstance(key, dict):
                key = {"number": key, "bound": bound["$literal"]}
            values = [one for one in row["told"] if not isinstance(one, str)]
            others = [
                one for one in row["told"] if isinstance(one, str) and one != Outcome.MEASURED
            ]
            group = _Group(values, others, key.get("bound"))
            by_number.setdefault(int(key["number"]), []).append(group)
        return {number: _filled(query, mine) for number, mine in by_number.items()}

    return await to_thread(compute)


async def _one_by_one(rollups: Rollups, query: HistoryQuery, axis: _Axis) -> dict[int, Bucket]:
    """Likewise, where a run's own hour or conditions decide: as the rolled-up buckets are made."""
    reader = FigureReader([query.metric])
    order = [("started_at", ASCENDING), ("_id", ASCENDING)]
    found = rollups.database["runs"].find(_in_range(query), reader.projection, sort=order)
    rows = await found.to_list()

    def compute() -> dict[int, Bucket]:
        summariser = Summariser(rollups.eras, [query.metric])
        together: dict[int, Summary] = {}
        for row in rows:
            run = reader.read(row)
            number = bisect_right(axis.starts, run.start_ms) - 1
            summariser.take(together.setdefault(number, Summary()), run)
        return _buckets(rollups, query, together)

    return await to_thread(compute)


def _in_range(query: HistoryQuery) -> Row:
    return {"probe": query.probe, "started_at": {"$gte": query.since, "$lt": query.until}}


def _number(stretches: Sequence[tuple[int, int, int]]) -> Expression:
    """Of the bucket that a run lies in, as the server computes it."""
    cases = []
    for first, start_ms, width_ms in stretches:
        since = {"$subtract": ["$started_at", moment_of(start_ms)]}
        number = {"$add": [first, {"$floor": {"$divide": [since, width_ms]}}]}
        cases.append({"case": {"$gte": ["$started_at", moment_of(start_ms)]}, "then": number})
    if len(cases) == 1:
        return cases[0]["then"]
    return {"$switch": {"branches": cases[:0:-1], "default": cases[0]["then"]}}


class _Group(NamedTuple):
    """Figures, the outcomes of runs that were not MEASURED, and the bound that they met."""

    values: list[float]
    others: list[str]
    bound: float | None


def _filled(query: HistoryQuery, groups: Sequence[_Group]) -> Bucket:
    values = sorted(chain.from_iterable([group.values for group in groups]))
    outages = sum(group.others.count(Outcome.OUTAGE) for group in groups)
    p10, median, p90 = percentiles(values, 0.10, MEDIAN, 0.90)
    return Bucket(
        median=median,
        p10=p10,
        p90=p90,
        min=values[0] if values else None,
        max=values[-1] if values else None,
        n=len(values),
        below=sum(_below(query, group) for group in groups),
        outages=outages,
        inconclusive=sum(len(group.others) for group in groups) - outages,
    )


def _below(query: HistoryQuery, group: _Group) -> int:
    """As `judgement.broken` has it."""
    bound = group.bound
    if bound is None:
        return 0
    worse = [value for value in group.values if query.metric.is_worse(value, bound)]
    return len(worse) + group.others.count(Outcome.OUTAGE)


def _bound(query: HistoryQuery, plans: Sequence[Plan], rule: Rule | None) -> Expression:
    """The rule's threshold at the run's start, as the server computes it."""
    first = plan_at(plans, query.since)
    later = [plan for plan in plans if query.since < plan.since < query.until]
    if rule is None or not later:
        return _bound_under(first, rule)
    branches = [
        {"case": {"$gte": ["$started_at", plan.since]}, "then": _bound_under(plan, rule)}
        for plan in (*reversed(later), *([] if first is None else [first]))
    ]
    return {"$switch": {"branches": branches, "default": None}}


def _bound_under(plan: Plan | None, rule: Rule | None) -> Expression:
    return {"$literal": None if rule is None else threshold(rule, plan)}


def _as_asked(query: HistoryQuery, grid: Grid) -> _Axis:
    """Buckets of equal width, or of whole days of the calendar where they are that wide."""
    since_ms, until_ms = milliseconds(query.since), milliseconds(query.until)
    is_in_calendar = since_ms >= FIRST_MS and until_ms <= END_MS
    if is_in_calendar and until_ms - since_ms <= _MOST_DAYS * Level.DAY.usual_ms:
        zone = ZoneInfo(grid.time_zone)
        by_the_clock = _naive(query.until, zone) - _naive(query.since, zone)
        if max(by_the_clock, query.until - query.since) >= query.buckets * _DAY:
            return _in_the_calendar(query.buckets, grid, since_ms, until_ms, Level.DAY)
    width_ms = _width_ms(query)
    count = max(1, -(-(until_ms - since_ms) // width_ms))
    return _Axis(width_ms, [since_ms + number * width_ms for number in range(count)])


def _naive(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _of_rollups(query: HistoryQuery, grid: Grid) -> _Axis:
    since_ms = min(max(milliseconds(query.since), FIRST_MS), END_MS - 1)
    until_ms = min(max(milliseconds(query.until), since_ms + 1), END_MS)
    level = _level(until_ms - since_ms, query.buckets)
    return _in_the_calendar(query.buckets, grid, since_ms, until_ms, level)


def _in_the_calendar(buckets: int, grid: Grid, since_ms: int, until_ms: int, level: Level) -> _Axis:
    """As few of the level's units to a bucket as make no more than *buckets*.

    A range that is neither begun nor ended on a unit has one more than would fit into it: its
    shorter end is not worth buckets of twice the width, and goes with its neighbour.
    """
    starts = list(grid.starts(level, grid.floor(level, since_ms), until_ms))
    starts[0] = since_ms
    together = -(-len(starts) // buckets)
    if together > 1 and len(starts) - 1 <= buckets * (together - 1):
        together -= 1
        is_first = starts[1] - since_ms < until_ms - starts[-1]
        del starts[1 if is_first else -1]
    return _Axis(together * level.usual_ms, starts[::together], level)


def _level(span_ms: int, buckets: int) -> Level:
    """The finest whose buckets in the range are not too many to read."""
    for level in (Level.HOUR, Level.DAY):
        if span_ms <= READ_PER_BUCKET * buckets * level.usual_ms:
            return level
    return Level.MONTH


async def _from_rollups(rollups: Rollups, query: HistoryQuery, axis: _Axis) -> dict[int, Bucket]:
    """The buckets that hold runs, by their number."""
    frozen_ms = await rollups.refresh()
    until_ms = min(milliseconds(query.until), END_MS)
    extent = await rollups.extent(axis.starts[0], until_ms, frozen_ms)
    if extent is None:
        return {}
    spans = cover(rollups.grid, *extent, axis.level or Level.HOUR)
    found = await rollups.read(spans, of_series(query.metric, query.tool), frozen_ms)

    def compute() -> dict[int, Bucket]:
        together: dict[int, Summary] = {}
        for start, summary in found:
            number = bisect_right(axis.starts, start) - 1
            together.setdefault(number, Summary()).join(summary)
        return _buckets(rollups, query, together)

    return await to_thread(compute)


def _buckets(
    rollups: Rollups, query: HistoryQuery, together: Mapping[int, Summary]
) -> dict[int, Bucket]:
    series, judged = (query.metric, query.tool), query.metric in rollups.rules
    return {number: _bucket(summary, series, judged=judged) for number, summary in together.items()}


def _bucket(summary: Summary, series: Series, *, judged: bool) -> Bucket:
    metric, tool = series
    sketch = summary.figures.get(series) or Sketch()
    p10, median, p90 = sketch.percentiles(0.10, MEDIAN, 0.90)
    outages_below = summary.outages_below.get(metric, 0) if tool is None else 0
    below = outages_below + summary.worse.get(series, 0)
    return Bucket(
        median=median,
        p10=p10,
        p90=p90,
        min=sketch.least,
        max=sketch.greatest,
        n=sketch.n,
        # No rule asks anything of a local tool.
        below=below if judged and tool not in LOCAL_TOOLS else 0,
        outages=summary.stretch.outages,
        inconclusive=summary.stretch.inconclusive,
    )


def _columns(
    query: HistoryQuery,
    axis: _Axis,
    filled: Mapping[int, Bucket],
    plans: Sequence[Plan],
    *,
    exact: bool,
) -> History:
    nothing = Bucket()
    buckets = [filled.get(number, nothing) for number in range(len(axis.starts))]
    columns: dict[str, Any] = dict(zip(Bucket._fields, zip(*buckets, strict=True), strict=True))
    ends = [*map(moment_of, axis.starts[1:]), query.until]
    return History(
        probe=query.probe,
        metric=query.metric,
        tool=query.tool,
        bucket_s=axis.width_ms / 1000,
        t=tuple(start / 1000 for start in axis.starts),
        **columns,
        subscribed_mbps=tuple(
            subscribed(plan_at(plans, end - _MILLISECOND), query.metric) for end in ends
        ),
        exact=exact,
    )
