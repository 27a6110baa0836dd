"""Rolled-up buckets against the runs they are made of, on a real mongod."""

import asyncio
import os
import random
import signal
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import ASCENDING
from speedtrap_graph.rules.doubts import is_doubted
from speedtrap_graph.rules.model import DEFAULT_RULE, FailureKind, Metric, Plan, Rule
from speedtrap_graph.rules.peak import is_peak, local_hour
from speedtrap_graph.rules.percentiles import percentile
from speedtrap_graph.rules.plans import plan_at, threshold
from speedtrap_graph.rules.report import SeenRun
from speedtrap_graph.rules.report import service_report as report_on
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.rollups import EXACT_RUNS, Rollups, mark
from speedtrap_graph.services.history.series import History, HistoryQuery, history
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.judging.observations import observation_of
from speedtrap_graph.services.judging.readings import readings_of
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.services.upkeep.roll_up import RollUp
from speedtrap_graph.store.database import Session, Store
from speedtrap_graph.store.rollups import MARKS, ROLLUPS, STATES
from speedtrap_graph.timestamps import format_moment

from tests.graph.rules.builders import EPOCH, a_failure, a_plan, a_reading
from tests.graph.services.stored import Row, a_stored_run
from tests.lab.mongo import Mongod

SINCE = datetime(2026, 2, 10, 7, 23, 11, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=75)
"""Europe sets its clocks on 29 March, Lord Howe by half an hour on 5 April."""

RULES = {
    Metric.DOWNLOAD: DEFAULT_RULE,
    Metric.LATENCY: Rule(metric=Metric.LATENCY, above_ms=40),
}


# Any order, any split, any repetition


LATE_IN_MARCH = datetime(2026, 3, 28, 20, tzinfo=UTC)
HALF_HOURS = st.lists(st.integers(0, 24 * 2 * 5), min_size=1, max_size=40)


def submitted(probe: str, number: int, half_hour: int) -> dict[str, Any]:
    at = format_moment(LATE_IN_MARCH + timedelta(minutes=30 * half_hour))
    down = number % 7 == 3
    measurement = {"tool": "ookla", "startedAt": at, "durationS": 10}
    if down:
        measurement["failure"] = {"kind": "NO_NETWORK", "message": "no route"}
    else:
        measurement["downloadMbps"] = 100 + 37 * (number % 11)
    return {
        "id": str(UUID(int=number + (hash_of(probe) << 64))),
        "probe": probe,
        "startedAt": at,
        "finishedAt": at,
        "conditions": {"lineUp": not down},
        "measurements": [measurement],
    }


def hash_of(probe: str) -> int:
    return int.from_bytes(probe.encode()[-6:], "big")


async def rolled_up(store: Store, probe: str) -> None:
    standards = await load_standards(store, probe)
    await Rollups(store.database, probe, standards.pure_plans, standards.pure_rules).refresh()


async def buckets(store: Store, probe: str) -> list[Row]:
    found = store[ROLLUPS].find({"_id": {"$gte": f"{probe}/", "$lt": f"{probe}0"}})
    rows = await found.sort("_id", ASCENDING).to_list()
    for row in rows:
        row["_id"] = row["_id"].removeprefix(probe)
    return rows


async def rolled_up_anew(store: Store, probe: str) -> list[Row]:
    """What the runs alone make of it."""
    await store[ROLLUPS].delete_many({})
    await store[MARKS].delete_many({})
    await store[STATES].delete_many({})
    await rolled_up(store, probe)
    return await buckets(store, probe)


@given(data=st.data(), half_hours=HALF_HOURS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_order_split_and_repetition_of_the_runs_ends_in_the_same_buckets(
    store: Store, data: st.DataObject, half_hours: list[int]
) -> None:
    ingest = Ingest(store, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    await Plans(store, ingest.clock).set_plan(None, a_plan(800, time_zone="Australia/Lord_Howe"))
    example = await store["probes"].count_documents({})
    in_order, shaken = f"in-order-{example}", f"shaken-{example}"
    half_hours.sort()
    await ingest.submit([submitted(in_order, *run) for run in enumerate(half_hours)], None)
    await rolled_up(store, in_order)

    runs = [submitted(shaken, *run) for run in enumerate(half_hours)]
    again = data.draw(st.lists(st.sampled_from(runs), max_size=10))
    arriving = data.draw(st.permutations([*runs, *again]))
    cuts = data.draw(st.lists(st.integers(0, len(arriving)), max_size=4))
    for start, end in pairwise(sorted({0, *cuts, len(arriving)})):
        await ingest.submit(arriving[start:end], None)
        if data.draw(st.booleans()):
            await rolled_up(store, shaken)
    await rolled_up(store, shaken)

    assert await buckets(store, shaken) == await buckets(store, in_order)
    assert await store[MARKS].count_documents({"probe": shaken}) == 0


async def test_readers_and_writers_at_once_end_in_the_same_buckets(store: Store) -> None:
    ingest = Ingest(store, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    draw = random.Random(4)
    runs = [submitted("laptop", number, draw.randrange(400)) for number in range(120)]
    await asyncio.gather(
        *(ingest.submit(runs[start : start + 6], None) for start in range(0, 120, 5)),
        *(rolled_up(store, "laptop") for _ in range(10)),
    )
    await rolled_up(store, "laptop")
    assert await buckets(store, "laptop") == await rolled_up_anew(store, "laptop")


async def test_a_run_that_is_stored_is_marked_until_it_is_rolled_up(store: Store) -> None:
    ingest = Ingest(store, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    await ingest.submit([submitted("laptop", 1, 1)], None)
    assert await store[MARKS].count_documents({}) == 1
    await ingest.submit([submitted("laptop", 1, 1)], None)
    assert await store[MARKS].count_documents({}) == 1
    await RollUp(store).once()
    assert await store[MARKS].count_documents({}) == 0
    levels = [row["_id"].split("/")[1] for row in await buckets(store, "laptop")]
    assert levels == ["day", "hour", "month"]


async def test_a_run_that_is_gone_leaves_no_bucket_behind(store: Store) -> None:
    ingest = Ingest(store, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    await ingest.submit([submitted("laptop", *run) for run in ((1, 1), (2, 90), (3, 91))], None)
    await rolled_up(store, "laptop")
    for half_hour in (90, 1, 91):
        gone = {"started_at": LATE_IN_MARCH + timedelta(minutes=30 * half_hour)}

        async def forget(session: Session, gone: Row = gone) -> None:
            await store["runs"].delete_one(gone, session=session)
            await mark(store.database, session, "laptop", [gone["started_at"]])

        await store.transaction(forget)
        await rolled_up(store, "laptop")
        found = await buckets(store, "laptop")
        assert found == await rolled_up_anew(store, "laptop")
    assert found == []


VICTIM = """
import asyncio, sys
from datetime import datetime, UTC
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.store.database import connect, prepare
from tests.graph.services.test_rollups import rolled_up, submitted

async def main(uri, database):
    store = connect(uri, database)
    await prepare(store)
    ingest = Ingest(store, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    first = await store["runs"].count_documents({})
    for number in range(first, first + 100000):
        await ingest.submit([submitted("laptop", number, number * 7 % 400)], None)
        print("stored", flush=True)
        await rolled_up(store, "laptop")
        print("rolled", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 8])
async def test_killed_between_run_and_rollup_nothing_is_lost(
    store: Store, mongod: Mongod, lines: int
) -> None:
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, mongod.uri, store.database.name,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert victim.stdout is not None
    for _ in range(lines):
        assert await victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    # mongod would take a minute to give up the transaction that nobody ends any more.
    await store.client.admin.command("killAllSessions", [])

    await rolled_up(store, "laptop")
    found = await buckets(store, "laptop")
    assert sum(row["stretch"]["measured"] + row["stretch"]["outages"] for row in found) == (
        3 * await store["runs"].count_documents({})
    )
    assert found == await rolled_up_anew(store, "laptop")


# Against the runs themselves


PLANS_CHANGE = datetime(2026, 3, 17, 13, 37, 0, 5000, tzinfo=UTC)


def two_plans(time_zone: str) -> list[Plan]:
    return [
        a_plan(600, 50, time_zone="America/Denver", since=EPOCH),
        a_plan(1000, 100, time_zone=time_zone, since=PLANS_CHANGE),
    ]


def many_runs(plans: Sequence[Plan], rules: Sequence[Rule] = (DEFAULT_RULE,)) -> list[Row]:
    """More than are answered exactly, every twenty minutes or so. Some are missing, two at a time,
    so that the gaps behind some outages are of about three intervals: just where silence begins.
    """
    draw = random.Random(7)
    planned = (EXACT_RUNS + 100) * 13 // 11 + 1
    step_ms = (UNTIL - SINCE) // timedelta(milliseconds=1) // planned
    moments = [
        SINCE + timedelta(milliseconds=step_ms * number + draw.randrange(step_ms // 50))
        for number in range(planned)
        if number % 13 not in {5, 6}
    ]
    return [_any_run(draw, number, at, plans, rules) for number, at in enumerate(moments)]


def _any_run(
    draw: random.Random, number: int, at: datetime, plans: Sequence[Plan], rules: Sequence[Rule]
) -> Row:
    plan, kind = plan_at(plans, at), draw.random()
    if kind < 0.05:
        return a_stored_run(a_failure(), at=at, number=number, plan=plan, line_up=False)
    if kind < 0.1:
        return a_stored_run(a_failure(), at=at, number=number, plan=plan)
    figure = round(draw.lognormvariate(6, 0.7), 3)
    latency = round(draw.lognormvariate(3, 0.5), 3)
    fast = (
        a_failure("fast", FailureKind.TIMEOUT)
        if kind < 0.3
        else a_reading("fast", figure * draw.uniform(0.5, 1))
    )
    readings = (a_reading("ookla", figure, latency=latency), fast, a_reading("lan", 2000 * kind))
    return a_stored_run(*readings, at=at, number=number, plan=plan, rules=rules)


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]
)
async def test_long_ranges_agree_with_the_runs_in_every_zone(store: Store, zone: str) -> None:
    plans = two_plans(zone)
    rows = many_runs(plans)
    await store["runs"].insert_many(rows)

    for buckets_wanted in (600, 80, 5):
        query = HistoryQuery("laptop", SINCE, UNTIL, buckets=buckets_wanted)
        found = await history(store.database, query, plans, RULES)
        assert len(found.t) <= buckets_wanted
        _agrees(found, rows, plans, RULES[Metric.DOWNLOAD], UNTIL)
        if buckets_wanted == 80:
            assert all(_is_midnight(start, zone) for start in found.t[1:])
            assert len(found.t) == 76
    by_tool = HistoryQuery("laptop", SINCE, UNTIL, tool="fast", buckets=80)
    _agrees(
        await history(store.database, by_tool, plans, RULES),
        rows, plans, RULES[Metric.DOWNLOAD], UNTIL,
    )  # fmt: skip
    latency = HistoryQuery("laptop", SINCE, UNTIL, metric=Metric.LATENCY, buckets=80)
    _agrees(
        await history(store.database, latency, plans, RULES),
        rows, plans, RULES[Metric.LATENCY], UNTIL,
    )  # fmt: skip
    local = HistoryQuery("laptop", SINCE, UNTIL, tool="lan", buckets=80)
    assert sum((await history(store.database, local, plans, RULES)).below) == 0
    await _report_agrees(store, rows, plans, DEFAULT_RULE)


def _is_midnight(start: float, zone: str) -> bool:
    local = datetime.fromtimestamp(start, ZoneInfo(zone))
    return (local.hour, local.minute, local.second) == (0, 0, 0)


def _agrees(
    found: History, rows: list[Row], plans: Sequence[Plan], rule: Rule, until: datetime
) -> None:
    ends = [*found.t[1:], until.timestamp()]
    moments = [row["started_at"].timestamp() for row in rows]
    counted = 0
    for place, (start, end) in enumerate(zip(found.t, ends, strict=True)):
        inside = rows[bisect_left(moments, start) : bisect_left(moments, end)]
        counted += len(inside)
        values = [
            value for row in inside if (value := _figure(row, found, plans, rule)) is not None
        ]
        assert found.n[place] == len(values)
        assert found.below[place] == sum(_is_below(row, found, plans, rule) for row in inside)
        assert found.outages[place] == sum(row["outcome"] == "OUTAGE" for row in inside)
        assert found.inconclusive[place] == sum(row["outcome"] == "INCONCLUSIVE" for row in inside)
        assert found.min[place] == min(values, default=None)
        assert found.max[place] == max(values, default=None)
        for column, share in ((found.p10, 0.1), (found.median, 0.5), (found.p90, 0.9)):
            exact = percentile(values, share)
            assert column[place] == (exact if exact is None else pytest.approx(exact, rel=0.01))
    assert counted == len(rows)


def _figure(row: Row, found: History, plans: Sequence[Plan], rule: Rule) -> float | None:
    best: float | None = row["best"].get(found.metric.value)
    if found.tool is None or best is None:
        return best
    (mine,) = [m for m in row["measurements"] if m["tool"] == found.tool]
    figure: float | None = mine.get("download_mbps")
    plan, limit = plan_at(plans, row["started_at"]), row.get("limits", {}).get("DOWNLOAD")
    bound = threshold(rule, plan)
    return None if is_doubted(found.metric, figure or 0.0, bound, limit) else figure


def _is_below(row: Row, found: History, plans: Sequence[Plan], rule: Rule) -> bool:
    plan = plan_at(plans, row["started_at"])
    bound = None if plan is None else threshold(rule, plan)
    if bound is None or row["outcome"] == "INCONCLUSIVE":
        return False
    figure = _figure(row, found, plans, rule)
    if row["outcome"] == "OUTAGE":
        return found.tool in (None, *(m["tool"] for m in row["measurements"]))
    return figure is not None and (
        figure < bound if found.metric.more_is_better else figure > bound
    )


async def _report_agrees(store: Store, rows: list[Row], plans: Sequence[Plan], rule: Rule) -> None:
    rules = {Metric.DOWNLOAD: rule}
    found = await service_report(store.database, "laptop", SINCE, UNTIL, plans, rules)
    seen = [
        SeenRun(
            observation_of(row, plans, rule),
            readings_of(row["measurements"]),
            row.get("limits", {}).get(rule.metric.value),
        )
        for row in rows
    ]
    exact = report_on("laptop", SINCE, UNTIL, seen, plans, rule)
    for name in (
        "plan", "verdict", "n", "outage_runs", "inconclusive_runs", "fcc_band", "below_count",
        "below_share", "longest_streak", "current_streak",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(exact, name), name
    for name in ("median_mbps", "median_ratio", "consistent_mbps", "consistent_ratio"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0.01), name
    assert found.outages == exact.outages
    assert [(tool.tool, tool.failures) for tool in found.tools] == [
        (tool.tool, tool.failures) for tool in exact.tools
    ]
    assert [(cell.weekday, cell.hour) for cell in found.hours] == [
        (cell.weekday, cell.hour) for cell in exact.hours
    ]
    _same_figures([found.peak, found.off_peak], [exact.peak, exact.off_peak])
    _same_figures(found.tools, exact.tools)
    _same_figures(found.hours, exact.hours)


def _same_figures(found: Iterable[Any], exact: Iterable[Any]) -> None:
    for mine, theirs in zip(found, exact, strict=True):
        assert mine.n == theirs.n
        assert mine.median == pytest.approx(theirs.median, rel=0.01)


async def test_what_is_read_for_a_chart_depends_on_its_buckets_and_not_on_the_history(
    store: Store,
) -> None:
    plans = [a_plan(1000, time_zone="Europe/Berlin")]
    rows = many_runs(plans)
    await store["runs"].insert_many(rows)
    query = HistoryQuery("laptop", SINCE, UNTIL, buckets=80)
    await history(store.database, query, plans, RULES)
    assert await _read_for(store, query, plans) < 4 * query.buckets

    def also(row: Row, number: int) -> Row:
        return row | {"_id": UUID(int=number << 64 | row["_id"].int)}

    for number in (1, 2):
        await store["runs"].insert_many([also(row, number) for row in rows])
    await store[STATES].delete_many({})
    await history(store.database, query, plans, RULES)
    assert await _read_for(store, query, plans) < 4 * query.buckets


async def _read_for(store: Store, query: HistoryQuery, plans: Sequence[Plan]) -> int:
    """How many documents mongod looks at."""
    before = await store.client.admin.command("serverStatus")
    await history(store.database, query, plans, RULES)
    after = await store.client.admin.command("serverStatus")
    names = ("metrics", "queryExecutor", "scannedObjects")
    return int(_within(after, *names)) - int(_within(before, *names))


def _within(status: Any, *names: str) -> Any:
    for name in names:
        status = status[name]
    return status


async def test_a_new_rule_or_plan_is_what_the_buckets_are_held_against(store: Store) -> None:
    plans = [a_plan(1000, time_zone="Europe/Berlin")]
    query = HistoryQuery("laptop", SINCE, UNTIL, buckets=80)
    strict = Rule(below_ratio=0.8)
    elsewhere = [*plans, a_plan(500, time_zone="America/Denver", since=PLANS_CHANGE)]
    for now, rule in ((plans, DEFAULT_RULE), (plans, strict), (elsewhere, strict)):
        rows = many_runs(now, [rule])
        await store["runs"].delete_many({})
        await store["runs"].insert_many(rows)
        found = await history(store.database, query, now, {Metric.DOWNLOAD: rule})
        _agrees(found, rows, now, rule, UNTIL)
        await _report_agrees(store, rows, now, rule)
    unruled = await history(store.database, query, plans, {})
    assert sum(unruled.below) == 0


@pytest.mark.parametrize("runs", [EXACT_RUNS // 4, EXACT_RUNS + 100])
async def test_a_rule_for_the_peak_counts_nothing_outside_of_it(store: Store, runs: int) -> None:
    plans = two_plans("Australia/Lord_Howe")
    rows = many_runs(plans)[-runs:]
    await store["runs"].insert_many(rows)
    rule = Rule(below_ratio=0.5, only_at_peak=True)
    rules = {Metric.DOWNLOAD: rule}
    found = await history(
        store.database, HistoryQuery("laptop", SINCE, UNTIL, buckets=80), plans, rules
    )
    report = await service_report(store.database, "laptop", SINCE, UNTIL, plans, rules)
    below = [row for row in rows if _is_below(row, found, plans, rule) and _is_at_peak(row, plans)]
    assert sum(found.below) == report.below_count == len(below) > 0


def _is_at_peak(row: Row, plans: Sequence[Plan]) -> bool:
    plan = plan_at(plans, row["started_at"])
    return plan is not None and is_peak(*local_hour(row["started_at"], plan.time_zone))


async def test_a_range_far_beyond_the_runs_is_answered_with_gaps(store: Store) -> None:
    plans = [a_plan(1000, time_zone="Asia/Kolkata")]
    rows = many_runs(plans)
    await store["runs"].insert_many(rows)
    always = HistoryQuery(
        "laptop", datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), buckets=600
    )
    found = await history(store.database, always, plans, RULES)
    assert len(found.t) <= 600
    assert sum(found.n) + sum(found.outages) + sum(found.inconclusive) == len(rows)
    assert sum(n > 0 for n in found.n) <= 2
    report = await service_report(
        store.database, "laptop", always.since, always.until, plans, RULES
    )
    assert report.n == sum(found.n)


@pytest.mark.parametrize("tool", ["", "*", "best", "$outcome", "a.b", "of fast", "\x00"])
async def test_a_tool_that_is_none_has_no_figures_in_a_long_range(store: Store, tool: str) -> None:
    await store["runs"].insert_many(many_runs([]))
    query = HistoryQuery("laptop", SINCE, UNTIL, tool=tool, buckets=80)
    assert sum((await history(store.database, query, [], RULES)).n) == 0
