"""History from the stored runs, against a real mongod and an independent computation."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import DEFAULT_RULE, FailureKind, Metric, Reading, Rule
from speedtrap_graph.rules.percentiles import percentile
from speedtrap_graph.rules.plans import plan_at
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.series import History, HistoryQuery, history
from speedtrap_graph.services.judging.observations import observation_of

from tests.graph.rules.builders import EPOCH, NOON, a_failure, a_plan, a_reading
from tests.graph.services.stored import Row, a_stored_run

Database = AsyncDatabase[dict[str, Any]]

PLAN = a_plan(download_mbps=1000, upload_mbps=100)
RULES = {Metric.DOWNLOAD: DEFAULT_RULE}
FOUR_HOURS = HistoryQuery("laptop", NOON, NOON + timedelta(hours=4), buckets=4)


async def store(database: Database, rows: Iterable[Row]) -> None:
    await database["runs"].insert_many(list(rows))


def runs_at(minutes_and_figures: Iterable[tuple[float, float]], **keywords: Any) -> list[Row]:
    return [
        a_stored_run(
            a_reading("ookla", figure),
            at=NOON + timedelta(minutes=minute),
            number=number,
            plan=PLAN,
            **keywords,
        )
        for number, (minute, figure) in enumerate(minutes_and_figures)
    ]


async def test_each_bucket_summarises_its_own_runs_and_a_gap_stays_a_gap(
    database: Database,
) -> None:
    figures = [(0, 900), (20, 100), (59.99, 800), (120, 700), (240, 1), (-1, 1)]
    await store(database, runs_at(figures))
    found = await history(database, FOUR_HOURS, [PLAN], RULES)
    assert found.t == tuple(NOON.timestamp() + 3600 * place for place in range(4))
    assert found.bucket_s == 3600
    assert found.n == (3, 0, 1, 0)
    assert list(found.median) == [800, None, 700, None]
    assert list(found.min) == [100, None, 700, None]
    assert list(found.max) == [900, None, 700, None]
    assert list(found.p10) == [pytest.approx(240), None, 700, None]
    assert list(found.p90) == [pytest.approx(880), None, 700, None]
    assert found.below == (1, 0, 0, 0)
    assert found.subscribed_mbps == (1000,) * 4


async def test_outages_and_inconclusive_runs_are_counted_and_are_no_figures(
    database: Database,
) -> None:
    failed = a_failure("ookla")
    rows = [
        a_stored_run(failed, at=NOON, number=1, plan=PLAN, line_up=False),
        a_stored_run(failed, at=NOON, number=2, plan=PLAN, line_up=True),
        a_stored_run(a_reading("ookla", 90), at=NOON, number=3, plan=PLAN, cross_traffic_mbps=200),
    ]
    await store(database, rows)
    found = await history(database, FOUR_HOURS, [PLAN], RULES)
    assert (found.n[0], found.median[0]) == (0, None)
    assert (found.outages[0], found.inconclusive[0], found.below[0]) == (1, 2, 1)


async def test_without_a_plan_or_a_rule_nothing_is_below(database: Database) -> None:
    rows = runs_at([(0, 1)])
    outage = a_stored_run(a_failure(), at=NOON, number=9, plan=None, line_up=False)
    await store(database, [*rows, outage])
    unplanned = await history(database, FOUR_HOURS, [], RULES)
    unruled = await history(database, FOUR_HOURS, [PLAN], {})
    assert unplanned.below == unruled.below == (0, 0, 0, 0)
    assert unplanned.subscribed_mbps == (None,) * 4
    assert unplanned.median[0] == 1


async def test_an_absolute_rule_has_a_bound_that_no_plan_changes(database: Database) -> None:
    await store(database, runs_at([(0, 49), (1, 50)]))
    rules = {Metric.DOWNLOAD: Rule(below_mbps=50)}
    assert (await history(database, FOUR_HOURS, [PLAN], rules)).below == (1, 0, 0, 0)


async def test_before_the_first_plan_nothing_is_below(database: Database) -> None:
    await store(database, runs_at([(0, 1), (120, 1)]))
    plans = [a_plan(1000, since=NOON + timedelta(hours=1))]
    found = await history(database, FOUR_HOURS, plans, RULES)
    assert found.below == (0, 0, 1, 0)
    assert found.subscribed_mbps == (None, 1000, 1000, 1000)


async def test_each_run_is_held_against_the_plan_of_its_own_time(database: Database) -> None:
    plans = [a_plan(100, since=EPOCH), a_plan(1000, since=NOON + timedelta(hours=2))]
    await store(database, runs_at([(0, 49), (60, 51), (119, 51), (120, 51), (180, 501)]))
    found = await history(database, FOUR_HOURS, plans, RULES)
    assert found.below == (1, 0, 1, 0)
    assert found.subscribed_mbps == (100, 100, 1000, 1000)


async def test_a_tool_shows_its_own_figures_instead_of_the_best(database: Database) -> None:
    both = (a_reading("ookla", 900), a_reading("fast", 300))
    timed_out = a_failure("fast", FailureKind.TIMEOUT)
    rows = [
        a_stored_run(*both, at=NOON, number=1, plan=PLAN),
        a_stored_run(a_reading("ookla", 900), timed_out, at=NOON, number=2, plan=PLAN),
    ]
    await store(database, rows)
    found = await history(database, replace(FOUR_HOURS, tool="fast"), [PLAN], RULES)
    assert (found.tool, found.n[0], found.median[0], found.below[0]) == ("fast", 1, 300, 1)


async def test_on_a_busy_line_an_internet_tool_has_no_figure_but_the_local_one_has(
    database: Database,
) -> None:
    readings = (a_reading("ookla", 90), a_reading("lan", 300))
    busy = a_stored_run(*readings, at=NOON, number=1, plan=PLAN, cross_traffic_mbps=200)
    await store(database, [busy])
    ookla = await history(database, replace(FOUR_HOURS, tool="ookla"), [PLAN], RULES)
    lan = await history(database, replace(FOUR_HOURS, tool="lan"), [PLAN], RULES)
    assert ookla.n[0] == 0
    assert (lan.n[0], lan.median[0], lan.below[0]) == (1, 300, 0)


async def test_a_tool_named_like_a_field_is_only_a_name(database: Database) -> None:
    await store(database, runs_at([(0, 900)]))
    found = await history(database, replace(FOUR_HOURS, tool="$outcome"), [PLAN], RULES)
    assert found.n == (0, 0, 0, 0)


async def test_of_latencies_the_higher_ones_break_the_rule(database: Database) -> None:
    rows = [
        a_stored_run(a_reading("ookla", 900, latency=latency), at=NOON, number=latency, plan=PLAN)
        for latency in (10, 80, 200)
    ]
    await store(database, rows)
    query = replace(FOUR_HOURS, metric=Metric.LATENCY)
    rules = {Metric.LATENCY: Rule(metric=Metric.LATENCY, above_ms=80)}
    found = await history(database, query, [PLAN], rules)
    assert (found.median[0], found.below[0], found.subscribed_mbps[0]) == (80, 1, None)


async def test_other_probes_are_left_out(database: Database) -> None:
    await store(database, runs_at([(0, 900)], probe="pi-attic"))
    assert sum((await history(database, FOUR_HOURS, [PLAN], RULES)).n) == 0


@pytest.mark.parametrize("buckets", [0, -1, 2001])
async def test_a_number_of_buckets_out_of_bounds_is_refused(
    database: Database, buckets: int
) -> None:
    with pytest.raises(BadInputError, match="buckets must be 1 to 2000") as refusal:
        await history(database, replace(FOUR_HOURS, buckets=buckets), [PLAN], RULES)
    assert refusal.value.field == "buckets"


async def test_a_range_that_ends_before_it_begins_is_refused(database: Database) -> None:
    with pytest.raises(BadInputError, match="until must be later than since"):
        await history(database, replace(FOUR_HOURS, until=NOON), [PLAN], RULES)


async def test_a_range_shorter_than_its_buckets_has_one_a_millisecond(database: Database) -> None:
    query = replace(FOUR_HOURS, until=NOON + timedelta(milliseconds=3), buckets=2000)
    assert len((await history(database, query, [PLAN], RULES)).t) == 3


CLOCKS_SET = {
    "Europe/Berlin": [date(2026, 3, 29), date(2026, 10, 25)],
    "America/Denver": [date(2026, 3, 8), date(2026, 11, 1)],
    "Australia/Lord_Howe": [date(2026, 4, 5), date(2026, 10, 4)],  # by half an hour
    "Africa/Cairo": [date(2026, 4, 24), date(2026, 10, 30)],  # at midnight
    "Asia/Kolkata": [date(2026, 3, 29)],  # never, and half an hour off all hours
}


def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize("days_together", [1, 3])
@pytest.mark.parametrize(
    ("zone", "day"), [(zone, day) for zone, days in CLOCKS_SET.items() for day in days]
)
async def test_a_day_is_the_zones_day_also_when_clocks_are_set(
    database: Database, zone: str, day: date, days_together: int
) -> None:
    first = day - timedelta(days=4)
    starts = [midnight(first + timedelta(days=days_together * n), zone) for n in range(4)]
    until = midnight(first + timedelta(days=days_together * 4), zone)
    plan = a_plan(1000, 100, time_zone=zone)
    # One at each end of every day: a bucket that is off by minutes has another one's.
    moments = [
        moment
        for n in range(4 * days_together)
        for moment in (
            midnight(first + timedelta(days=n), zone),
            midnight(first + timedelta(days=n + 1), zone) - timedelta(milliseconds=1),
        )
    ]
    rows = [
        a_stored_run(a_reading("ookla", 500 + n), at=moment, number=n, plan=plan)
        for n, moment in enumerate(moments)
    ]
    await store(database, rows)
    query = HistoryQuery("laptop", starts[0], until, buckets=4)
    found = await history(database, query, [plan], RULES)
    assert [datetime.fromtimestamp(t, UTC) for t in found.t] == starts
    assert found.bucket_s == 86_400 * days_together
    assert found.n == (2 * days_together,) * 4
    assert found.min == tuple(500 + 2 * days_together * n for n in range(4))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("day", [date(2026, 10, 4), date(2026, 10, 25), date(2026, 3, 29)])
async def test_thirty_days_of_the_clock_on_the_wall_or_of_24_hours_are_no_more_than_asked_for(
    database: Database, zone: str, day: date
) -> None:
    until = midnight(day + timedelta(days=9), zone)
    ends = [until - timedelta(days=30), until + timedelta(hours=7) - timedelta(days=30)]
    plan = a_plan(1000, 100, time_zone=zone)
    rows = [
        a_stored_run(a_reading("ookla", 500), at=until - timedelta(hours=n), number=n, plan=plan)
        for n in range(1, 24 * 29)
    ]
    await store(database, rows)
    for since, end in zip(ends, [until, until + timedelta(hours=7)], strict=True):
        found = await history(database, HistoryQuery("laptop", since, end, buckets=30), [plan], {})
        assert len(found.t) <= 30
        assert found.t[0] == since.timestamp()
        midnights = [datetime.fromtimestamp(t, ZoneInfo(zone)) for t in found.t[1:]]
        assert {(at.hour, at.minute) for at in midnights} == {(0, 0)}
        assert sum(found.n) == sum(since <= row["started_at"] < end for row in rows)


@pytest.mark.parametrize("buckets", [1, 7, 24, 600, 1999])
async def test_every_column_agrees_with_an_independent_computation(
    database: Database, buckets: int
) -> None:
    draw = random.Random(buckets)
    plans = [a_plan(500, since=EPOCH), a_plan(1000, since=NOON + timedelta(days=3))]
    rows = [_any_run(draw, number) for number in range(700)]
    await store(database, rows)
    query = HistoryQuery("laptop", NOON, NOON + timedelta(days=7, seconds=1), buckets=buckets)
    found = await history(database, query, plans, RULES)
    assert len(found.t) <= buckets
    counted = 0
    ends = [*found.t[1:], query.until.timestamp()]
    for place, (start, end) in enumerate(zip(found.t, ends, strict=True)):
        inside = [row for row in rows if start <= row["started_at"].timestamp() < end]
        counted += len(inside)
        _agrees(found, place, inside, plans)
    assert counted == len(rows)


def _any_run(draw: random.Random, number: int) -> Row:
    at = NOON + timedelta(milliseconds=draw.randrange(7 * 86_400_000))
    kind = draw.random()
    if kind < 0.1:
        return a_stored_run(a_failure(), at=at, number=number, plan=None, line_up=False)
    if kind < 0.2:
        return a_stored_run(a_failure(), at=at, number=number, plan=None)
    figure = round(draw.lognormvariate(6, 0.7), 3)
    return a_stored_run(a_reading("ookla", figure), at=at, number=number, plan=None)


def _agrees(found: History, place: int, rows: list[Row], plans: list[Any]) -> None:
    values = [row["best"]["DOWNLOAD"] for row in rows if row["best"]]
    below = 0
    for row in rows:
        plan = plan_at(plans, row["started_at"])
        figure = 0.0 if row["outcome"] == "OUTAGE" else row["best"].get("DOWNLOAD")
        below += plan is not None and figure is not None and figure < plan.download_mbps / 2
    assert found.n[place] == len(values)
    assert found.below[place] == below
    assert found.outages[place] == sum(row["outcome"] == "OUTAGE" for row in rows)
    assert found.inconclusive[place] == sum(row["outcome"] == "INCONCLUSIVE" for row in rows)
    assert found.median[place] == (pytest.approx(median(values)) if values else None)
    assert found.min[place] == min(values, default=None)
    assert found.max[place] == max(values, default=None)
    for column, share in ((found.p10, 0.1), (found.p90, 0.9)):
        expected = percentile(values, share)
        assert column[place] == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "zone",
    ["America/Mexico_City", "Asia/Almaty", "Africa/Cairo", "America/Asuncion", "America/Nuuk"],
)
async def test_a_rule_for_the_peak_goes_by_the_zones_of_the_product_and_not_of_the_database(
    database: Database, zone: str
) -> None:
    """These countries changed their clocks after this mongod was built."""
    rule = Rule(below_ratio=0.5, only_at_peak=True)
    plan = a_plan(1000, time_zone=zone)
    monday = datetime(2026, 7, 6, tzinfo=ZoneInfo(zone))
    runs = [
        a_stored_run(a_reading("ookla", 100), at=monday.astimezone(UTC) + timedelta(hours=hour),
                     number=hour, plan=plan, rules=[rule])
        for hour in range(24)
    ]  # fmt: skip
    await store(database, runs)
    query = HistoryQuery("laptop", monday, monday + timedelta(days=1), buckets=24)
    rules = {Metric.DOWNLOAD: rule}
    found = await history(database, query, [plan], rules)
    assert [hour for hour, below in enumerate(found.below) if below] == [19, 20, 21, 22]
    report = await service_report(database, "laptop", query.since, query.until, [plan], rules)
    assert report.below_count == 4


async def test_a_tools_history_counts_below_what_a_rule_for_that_tool_would(
    database: Database,
) -> None:
    fast, ookla = a_reading("fast", 100), a_reading("ookla", 800)
    told: list[tuple[tuple[Reading, ...], dict[str, Any]]] = [
        ((fast, ookla), {}),
        ((fast, ookla), {"cross_traffic_mbps": 300.0}),
        ((a_failure("ookla"),), {"line_up": False}),
        ((a_failure("fast"),), {"line_up": False}),
    ]
    runs = [
        a_stored_run(*readings, at=NOON + timedelta(hours=hour), number=hour, plan=PLAN, **why)
        for hour, (readings, why) in enumerate(told)
    ]
    await store(database, runs)
    found = await history(database, replace(FOUR_HOURS, tool="fast"), [PLAN], RULES)
    assert found.below == (1, 0, 0, 1)
    assert found.n == (1, 0, 0, 0)
    rule = Rule(below_ratio=0.5, tool="fast", name="fast")
    verdicts = [broken(observation_of(run, [PLAN], rule), rule) for run in runs]
    assert verdicts == [True, None, None, True]
