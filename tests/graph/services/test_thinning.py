"""Runs whose time is over go, and every figure, breach and letter stays what it was."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from speedtrap_graph.errors import NotFoundError
from speedtrap_graph.rules.grid import HOUR_MS, Level, grid_of
from speedtrap_graph.rules.model import Plan, Rule
from speedtrap_graph.rules.report import ServiceReport
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.series import History, HistoryQuery, history
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.judging.standards import EPOCH, load_standards
from speedtrap_graph.services.read.runs_export import Format, Wanted, export, raw_since
from speedtrap_graph.services.upkeep.retention import retention, set_retention
from speedtrap_graph.services.upkeep.thin import GRACE, Thinning
from speedtrap_graph.store.database import Row, Store, connect
from speedtrap_graph.store.rollups import milliseconds, moment_of

from tests.graph.held import stored_breaches
from tests.graph.model import World, start
from tests.graph.services.post import GOOD, SLOW, Post, a_draft
from tests.lab.line import MIDNIGHT, Line, MovableClock, run_at
from tests.lab.mongo import Mongod

SLOTS = 160
FIRST_HOUR = 24 * 33.0
"""Lord Howe sets its clocks back by half an hour in the second of these days."""
CUTOFF_AFTER_H = 60
ZONES = st.sampled_from(["UTC", "Australia/Lord_Howe", "Asia/Kolkata", "Europe/Berlin"])
FIGURES = st.sampled_from([120.0, 130.0, 480.0, 700.0, 940.0, 940.0, None])


@dataclass
class Past:
    """A line whose runs go after some days; `cutoff` is where that is now."""

    line: Line
    cutoff: datetime

    @property
    def store(self) -> Store:
        return self.line.store

    @property
    def thinning(self) -> Thinning:
        return Thinning(self.store, self.line.clock)

    async def thin(self) -> datetime | None:
        """Both steps; from when on runs are kept."""
        await self.thinning.move_on(self.line.probe, self.cutoff)
        self.line.clock.now += GRACE
        await self.thinning.remove(self.line.probe)
        return await self.raw_since()

    async def raw_since(self) -> datetime | None:
        document = await self.store["probes"].find_one({"_id": self.line.probe}) or {}
        found: datetime | None = document.get("raw_since")
        return found

    async def history(self, since: datetime, until: datetime, buckets: int = 1) -> History:
        standards = await load_standards(self.store, self.line.probe)
        query = HistoryQuery(self.line.probe, since, until, buckets=buckets)
        database = self.store.database
        return await history(database, query, standards.pure_plans, standards.pure_rules)

    async def report(self, since: datetime, until: datetime) -> ServiceReport:
        standards = await load_standards(self.store, self.line.probe)
        plans, rules = standards.pure_plans, standards.pure_rules
        database, probe = self.store.database, self.line.probe
        return await service_report(database, probe, since, until, plans, rules)

    async def breaches(self) -> list[Row]:
        mine = {"probe": self.line.probe}
        return await self.store["breaches"].find(mine).sort("_id", 1).to_list()


def past(store: Store, probe: str = "laptop") -> Past:
    clock = MovableClock(MIDNIGHT + timedelta(hours=FIRST_HOUR + SLOTS / 2 + 1))
    line = Line(store, clock, probe)
    return Past(line, MIDNIGHT + timedelta(hours=FIRST_HOUR + CUTOFF_AFTER_H))


async def measure(line: Line, figures: Sequence[float | None], first_hour: float = 0) -> list[Row]:
    """One each half hour."""
    runs = [
        {**run_at(first_hour + slot / 2, mbps), "probe": line.probe}
        for slot, mbps in enumerate(figures)
    ]
    for place in range(0, len(runs), 100):
        await line.submit(*runs[place : place + 100])
    return runs


def hours_of(zone: str) -> list[datetime]:
    """The starts of the line's own hours."""
    grid = grid_of(zone)
    first = milliseconds(MIDNIGHT + timedelta(hours=FIRST_HOUR))
    last = first + SLOTS // 2 * HOUR_MS
    start = grid.floor(Level.DAY, first)
    return [moment_of(ms) for ms in grid.starts(Level.HOUR, start, last) if ms >= first]


def about(found: Any) -> Any:
    """Numbers to within the sketches' 1 %."""
    if isinstance(found, float):
        return pytest.approx(found, rel=0.011)
    if isinstance(found, dict):
        return {name: about(value) for name, value in found.items() if name != "exact"}
    if isinstance(found, list | tuple):
        return [about(value) for value in found]
    return found


def plain(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items() if name != "exact"}
    return [plain(value) for value in found] if isinstance(found, list | tuple) else found


@given(
    zone=ZONES,
    figures=st.lists(FIGURES, min_size=SLOTS, max_size=SLOTS),
    cuts=st.lists(st.tuples(st.integers(0, 79), st.integers(1, 79)), min_size=4, max_size=4),
    rule=st.builds(
        Rule,
        below_ratio=st.just(0.5),
        more_than=st.sampled_from([1, 3, 5]),
        out_of=st.sampled_from([None, None, 8]),
        recovered_after=st.sampled_from([1, 2]),
    ),
    late=st.lists(st.tuples(st.integers(0, SLOTS - 1), FIGURES), max_size=12),
    plan_at=st.sampled_from([None, 20, 50]),
)
@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_figures_of_the_past_are_the_same_before_and_after(
    store: Store,
    zone: str,
    figures: list[float | None],
    cuts: list[tuple[int, int]],
    rule: Rule,
    late: list[tuple[int, float | None]],
    plan_at: int | None,
) -> None:
    line = past(store, f"probe-{uuid4().hex}").line
    here = Past(line, past(store).cutoff)
    hours = hours_of(zone)
    sinces = [EPOCH] if plan_at is None else [EPOCH, hours[plan_at]]
    plans = [Plan("ISP", 1000 - 100 * n, None, zone, since) for n, since in enumerate(sinces)]
    for plan in plans:
        await line.plans.set_plan(line.probe, plan)
    await line.plans.set_rule(line.probe, rule)
    runs = await measure(line, figures, FIRST_HOUR)
    ranges = [
        (hours[min(start, len(hours) - 2)], hours[min(start + length, len(hours) - 1)])
        for start, length in [(0, 79), *cuts]
    ]
    ranges = [(since, until) for since, until in ranges if since < until]
    histories = [asdict(await here.history(*each)) for each in ranges]
    reports = [asdict(await here.report(*each)) for each in ranges]
    breaches = await here.breaches()
    raw_since = await here.thin()
    if raw_since is not None:
        old = {"probe": line.probe, "started_at": {"$lt": raw_since}}
        assert await store["runs"].count_documents(old) == 0
    for before, report, (since, until) in zip(histories, reports, ranges, strict=True):
        after = await here.history(since, until)
        assert plain(asdict(after)) == about({**before, "bucket_s": after.bucket_s})
        assert after.exact == (raw_since is None or since >= raw_since)
        assert plain(asdict(await here.report(since, until))) == about(report)
    # Nothing is judged otherwise when all that is left is judged again.
    await line.plans.rejudge.from_the_start(line.probe)
    assert await here.breaches() == breaches
    # What comes late makes of the rest what the rest alone calls for.
    since = raw_since or EPOCH
    more = [
        {**run_at(FIRST_HOUR + slot / 2 + 0.1, mbps), "probe": line.probe} for slot, mbps in late
    ]
    result = await line.ingest.submit(more, None)
    taken = {str(run) for run in result.accepted}
    assert taken == {run["id"] for run in more if start(run) >= since}
    rest = [run for run in (*runs, *more) if start(run) >= since]
    called_for = World(rest, plans, {"DOWNLOAD": rule}).breaches()
    closed = [row for row in breaches if row["first_run_at"] < since]
    ids = {"_id": {"$in": [row["_id"] for row in closed]}}
    assert await store["breaches"].find(ids).sort("_id", 1).to_list() == closed
    stored = await stored_breaches(store, line.probe)
    assert [each for each in stored if each.first_run_at >= since] == sorted(called_for, key=repr)


async def an_old_line(store: Store, *figures: float | None) -> Past:
    """Two days of good runs and *figures*, all before the cutoff, and good ones since."""
    here = past(store)
    await here.line.buy()
    await measure(here.line, [GOOD] * 96, FIRST_HOUR)
    await measure(here.line, figures, FIRST_HOUR + 1 / 4)
    await measure(here.line, [GOOD] * 64, FIRST_HOUR + 48)
    return here


async def test_an_open_breach_keeps_its_runs_however_old(store: Store) -> None:
    here = past(store)
    await here.line.buy()
    await measure(here.line, [GOOD] * 60 + [SLOW] * 100, FIRST_HOUR)
    (breach,) = await here.line.breaches()
    raw_since = await here.thin()
    assert raw_since == MIDNIGHT + timedelta(hours=FIRST_HOUR + 24)
    assert breach.first_run_at >= raw_since
    wanted = {"started_at": {"$gte": breach.first_run_at}}
    assert await store["runs"].count_documents(wanted) == 100


async def test_what_may_still_become_a_breach_is_kept(store: Store) -> None:
    here = past(store)
    await here.line.buy()
    # Five slow ones in a row, the last of all; the sixth comes long after.
    await measure(here.line, [GOOD] * 60 + [SLOW] * 5, FIRST_HOUR)
    assert await here.thin() == MIDNIGHT + timedelta(hours=FIRST_HOUR + 24)
    await here.line.submit(run_at(FIRST_HOUR + 80, SLOW))
    (breach,) = await here.line.breaches()
    assert breach.bad_count == 6


async def test_a_breach_of_the_past_stays_with_its_letters_and_its_evidence(store: Store) -> None:
    here = past(store)
    await here.line.buy()
    post = Post(here.line)
    post.hour = FIRST_HOUR
    breach = await post.slow()
    sent = await post.sent(breach)
    await measure(here.line, [GOOD] * 140, FIRST_HOUR + 6)
    (over,) = await here.line.breaches()
    assert over.status == "RESOLVED"
    waiting = await post.ledger.draft(a_draft(over, recipient="other@isp.example"), "bot")
    raw_since = await here.thin()
    assert raw_since is not None
    assert raw_since > over.last_run_at
    await here.line.plans.set_rule(None, Rule(below_ratio=0.01))
    await here.line.plans.set_plan(None, Plan("ISP", 1.0, None, "Asia/Kolkata", EPOCH))
    (after,) = await here.line.breaches(retracted=True)
    assert (after.status, after.bad_count, after.median) == ("RESOLVED", 6, SLOW)
    notices = {n.id: n for n in [await post.ledger.notice(key) for key in (sent.id, waiting.id)]}
    assert notices[sent.id].contradicted_at is None
    assert notices[sent.id].attachments == sent.attachments
    assert notices[waiting.id].status == waiting.status


async def test_an_old_run_is_refused_with_what_is_allowed_and_a_known_one_counts_once(
    store: Store,
) -> None:
    here = await an_old_line(store)
    known = [
        {**run_at(FIRST_HOUR + slot / 2, GOOD, row["_id"])}
        for slot, row in enumerate(
            await store["runs"].find().sort("started_at", 1).limit(3).to_list()
        )
    ]
    raw_since = await here.thin()
    assert raw_since is not None
    late, fresh = run_at(FIRST_HOUR + 3.3, SLOW), run_at(FIRST_HOUR + 79.9, GOOD)
    before = await here.history(MIDNIGHT, here.line.clock())
    result = await here.line.ingest.submit([*known, late, fresh], None)
    assert [str(run) for run in result.duplicates] == [run["id"] for run in known]
    assert [str(run) for run in result.accepted] == [fresh["id"]]
    (refused,) = result.rejected
    assert (refused.id, refused.index, refused.field) == (late["id"], 3, "startedAt")
    assert raw_since.strftime("%Y-%m-%dT%H:%M:%S") in refused.message
    after = await here.history(MIDNIGHT, here.line.clock())
    assert sum(after.n) == sum(before.n) + 1


async def test_of_two_steps_neither_loses_a_run_that_somebody_is_reading(store: Store) -> None:
    here = await an_old_line(store)
    assert await here.thinning.move_on("laptop", here.cutoff)
    assert await here.thinning.remove("laptop") == 0
    closed = await here.history(MIDNIGHT, here.line.clock())
    here.line.clock.now += GRACE
    assert await here.thinning.remove("laptop") > 0
    assert await here.history(MIDNIGHT, here.line.clock()) == closed


async def test_deleting_a_run_that_is_gone_says_so(store: Store) -> None:
    here = await an_old_line(store)
    first = await store["runs"].find_one({}, sort=[("started_at", 1)])
    assert first is not None
    deletion = Deletion(store, here.line.clock)
    await here.thinning.move_on("laptop", here.cutoff)
    for _ in range(2):  # still there, and gone
        with pytest.raises(NotFoundError, match="is no longer kept"):
            await deletion.delete(first["_id"], "wrong", "operator")
        await here.thin()
    last = await store["runs"].find_one({}, sort=[("started_at", -1)])
    assert last is not None
    await deletion.delete(last["_id"], "wrong", "operator")
    probe = await store["probes"].find_one({"_id": "laptop"}) or {}
    assert probe["first_run_at"] == first["started_at"]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe"])
async def test_another_zone_makes_other_days_of_the_same_hours(store: Store, zone: str) -> None:
    here = await an_old_line(store, SLOW, SLOW, None)
    since, until = MIDNIGHT, MIDNIGHT + timedelta(days=40)
    before = await here.history(since, until)
    raw_since = await here.thin()
    assert raw_since is not None
    await here.line.plans.set_plan(None, Plan("ISP", 1000.0, None, zone, EPOCH))
    for buckets in (1, 40):
        after = await here.history(since, until, buckets)
        assert (sum(after.n), sum(after.below)) == (sum(before.n), sum(before.below))
        assert sum(after.outages) == 1
    # And back, with a late run in the first hour that is still open.
    await here.line.plans.set_plan(None, Plan("ISP", 1000.0, None, "UTC", EPOCH))
    hour = (raw_since - MIDNIGHT) / timedelta(hours=1)
    await here.line.submit(run_at(hour + 0.1, GOOD))
    after = await here.history(since, until, 40)
    assert sum(after.n) == sum(before.n) + 1


async def test_nothing_goes_before_an_operator_says_so_and_nothing_comes_back(store: Store) -> None:
    here = await an_old_line(store)
    clock = here.line.clock
    clock.now += timedelta(days=200)
    await here.thinning.once()
    assert await here.raw_since() is None
    await set_retention(store, clock, 100, "operator")
    await here.thinning.once()
    clock.now += GRACE
    await here.thinning.once()
    gone = (await retention(store)).removed_runs
    # The last day stays, for the page shows the last run.
    assert (gone, await store["runs"].count_documents({})) == (144, 16)
    await set_retention(store, clock, None, "operator")
    await here.thinning.once()
    found = await retention(store)
    assert (found.removed_runs, found.swept_at) == (144, clock())
    assert await here.raw_since() is not None


async def test_a_crash_between_remembering_and_removing_leaves_it_to_the_next_round(
    store: Store,
) -> None:
    here = await an_old_line(store)
    raw_since = await here.thin()
    assert raw_since is not None
    some = await store["past_runs"].find().limit(7).to_list()
    # As if it had been killed there: remembered, and not yet gone.
    await store["runs"].insert_many([{**row, "outcome": "MEASURED"} for row in some])
    assert await here.thinning.remove("laptop") == 7
    assert await store["runs"].count_documents({"started_at": {"$lt": raw_since}}) == 0


async def test_an_export_says_from_when_on_it_has_every_run(store: Store) -> None:
    here = await an_old_line(store)
    assert await raw_since(store, "laptop") is None
    boundary = await here.thin()
    assert await raw_since(store, "laptop") == await raw_since(store, None) == boundary
    lines = b"".join([part async for part in export(store, Wanted("laptop"), Format.NDJSON)])
    first = json.loads(lines.splitlines()[0])
    assert boundary is not None
    assert datetime.fromisoformat(first["startedAt"]) >= boundary


async def test_of_several_copies_one_is_at_it(store: Store, mongod: Mongod) -> None:
    here = await an_old_line(store)
    await set_retention(store, here.line.clock, 100, "operator")
    here.line.clock.now += timedelta(days=200)
    others = [connect(mongod.uri, store.database.name) for _ in range(2)]
    copies = [Thinning(each, here.line.clock) for each in (store, *others)]
    for _ in range(2):
        await asyncio.gather(*(copy.round() for copy in copies))
        here.line.clock.now += GRACE
    assert (await retention(store)).removed_runs == 144
    assert await store["past_runs"].count_documents({}) == 144
    for other in others:
        await other.close()


async def test_while_runs_come_from_all_sides_none_is_lost_and_none_counts_twice(
    store: Store, mongod: Mongod
) -> None:
    here = past(store)
    await here.line.buy()
    runs = [run_at(FIRST_HOUR + n / 8, GOOD if n % 7 else SLOW) for n in range(600)]
    random.Random(7).shuffle(runs)
    others = [connect(mongod.uri, store.database.name) for _ in range(2)]
    copies = [Ingest(each, here.line.clock) for each in (store, *others)]
    accepted: set[UUID] = set()
    refused: set[str] = set()

    async def deliver(copy: Ingest, mine: list[Row]) -> None:
        for place in range(0, len(mine), 10):
            # Every second batch comes twice.
            for batch in [mine[place : place + 10]] * (1 + place // 10 % 2):
                result = await copy.submit(batch, None)
                accepted.update(result.accepted)
                assert {one.field for one in result.rejected} <= {"startedAt"}
                refused.update(str(one.id) for one in result.rejected)

    async def thin() -> None:
        for hour in range(30, 70):
            cutoff = MIDNIGHT + timedelta(hours=FIRST_HOUR + hour)
            await here.thinning.move_on("laptop", cutoff)
            here.line.clock.now += GRACE
            await here.thinning.remove("laptop")

    await asyncio.gather(thin(), *(deliver(copy, runs[n::3]) for n, copy in enumerate(copies)))
    await thin()
    assert {str(run) for run in accepted} | refused == {run["id"] for run in runs}
    probe = await store["probes"].find_one({"_id": "laptop"}) or {}
    found = await here.history(MIDNIGHT, MIDNIGHT + timedelta(days=50))
    assert (sum(found.n), probe["run_count"]) == (len(accepted), len(accepted))
    assert await store["past_runs"].count_documents({}) > 100
    for other in others:
        await other.close()
