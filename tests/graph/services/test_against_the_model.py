"""In whatever order, however often and through however many processes: it ends as the model says.

Each example is a probe of its own with its own plans and rules. Three connections submit at once,
each with lanes of its own, as three processes do; meanwhile plans and rules change, runs are
deleted, a bot plans letters and a reader rolls up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from speedtrap_graph.errors import ConflictError, NotFoundError
from speedtrap_graph.rules.model import DEFAULT_RULE, Episode, Metric, Plan, Rule
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.judging.standards import EPOCH, load_standards, rule_key
from speedtrap_graph.services.notices.ledger import Ledger
from speedtrap_graph.store.database import Row, Store, connect
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument
from speedtrap_graph.store.probes import probes_behind

from tests.graph.held import modelled_buckets, stored_breaches, stored_buckets
from tests.graph.model import Run, World
from tests.graph.services.post import a_draft
from tests.lab.mongo import Mongod

BASE = datetime(2026, 3, 28, 3, tzinfo=UTC)
"""Europe, Lord Howe, Chatham and Santiago set their clocks in the eight days that follow."""
NEAR_A_CHANGE = 7 * 48
"""Half-hours until the day on which Lord Howe sets its clocks back by half an hour."""
HALF_HOUR = timedelta(minutes=30)
SLOTS_OF_TWO_DAYS = 90
SLOTS_OF_TWO_WEEKS = 14 * 48
PROCESSES = 3

# What one tool says: download, upload, latency.
Said = tuple[str, float | None, float | None, float | None]
SLOW: list[Said] = [("ookla", 120.0, 8.0, 30.0), ("fast", 100.0, None, None)]
GOOD: list[Said] = [("ookla", 940.0, 36.0, 12.0), ("fast", 900.0, None, None)]
FASTER: list[Said] = [*GOOD, ("lan", 2000.0, 1900.0, 1.0)]
BETWEEN: list[Said] = [("ookla", 430.0, 18.0, 45.0)]
AT_THE_BOUND: list[Said] = [("ookla", 55.0, 5.5, 40.0), ("fast", 54.999, None, None)]
FILLED: list[Said] = [("ookla", 800.0, 11.0, 90.0), ("fast", 90.0, None, None)]
NOTHING: list[Said] = [("ookla", None, None, None), ("fast", None, None, None)]
KINDS: dict[str, tuple[list[Said], Row]] = {
    "slow": (SLOW, {}),
    "good": (FASTER, {}),
    "one tool slow": ([("ookla", 930.0, 35.0, 80.0), ("fast", 110.0, 11.0, None)], {}),
    "between": (BETWEEN, {}),
    "at the bound": (AT_THE_BOUND, {}),
    "busy": (SLOW, {"crossTrafficMbps": 300.0}),
    "busy but good": (FILLED, {"crossTrafficMbps": 300.0}),
    "busy down": (BETWEEN, {"crossTrafficDownMbps": 95.0, "crossTrafficUpMbps": 0.1}),
    "busy up": (BETWEEN, {"crossTrafficDownMbps": 0.1, "crossTrafficUpMbps": 9.5}),
    "hardly busy": (BETWEEN, {"crossTrafficDownMbps": 5.5, "crossTrafficUpMbps": 0.55}),
    "behind a slow network": ([*BETWEEN, ("lan", 500.0, 17.0, 2.0)], {}),
    "behind a slower network": ([*SLOW, ("lan", 90.0, 300.0, 60.0)], {}),
    "on a slow wire": ([("ookla", 90.0, 9.0, 20.0)], {"medium": "WIRED", "linkMbps": 100.0}),
    "beyond its wire": ([*SLOW, ("x", 650.0, 9.0, 9.0)], {"medium": "WIRED", "linkMbps": 500.0}),
    "on some link": (BETWEEN, {"medium": "UNKNOWN", "linkMbps": 1000.0}),
    "on Wi-Fi": (BETWEEN, {"medium": "WIFI", "linkMbps": 780.0}),
    "in a VPN": (BETWEEN, {"vpn": True}),
    "on a busy machine": (GOOD, {"cpuPercent": 95.0}),
    "in a small container": (SLOW, {"cpuPercent": 30.0, "cpuWaitPercent": 20.0}),
    "outage": (NOTHING, {"lineUp": False}),
    "broken": (NOTHING[:1], {}),
}
DRAWN = [*["slow"] * 12, *["good"] * 3, *KINDS]


def a_run(probe: str, number: int, at: datetime, kind: str, shake: int) -> Run:
    tools, conditions = KINDS[kind]
    moment = at.isoformat()
    return {
        "id": str(UUID(int=shake << 16 | number)),
        "probe": probe,
        "startedAt": moment,
        "finishedAt": moment,
        "conditions": {"lineUp": True, **conditions},
        "measurements": [_measurement(moment, *said) for said in tools],
    }


def _measurement(
    at: str, tool: str, download: float | None, upload: float | None, latency: float | None
) -> Row:
    figures = {"downloadMbps": download, "uploadMbps": upload, "latencyMs": latency}
    known = {key: value for key, value in figures.items() if value is not None}
    failure = {"failure": {"kind": "TIMEOUT", "message": "no answer"}}
    return {"tool": tool, "startedAt": at, "durationS": 9.0, **(known or failure)}


ZONES = st.sampled_from(
    [
        "UTC", "Europe/Berlin", "America/St_Johns", "America/Santiago", "Asia/Kolkata",
        "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham",
    ]
)  # fmt: skip
PLANS = st.builds(
    Plan,
    provider=st.just("ISP"),
    download_mbps=st.sampled_from([100.0, 200.0, 900.0, 1000.0]),
    upload_mbps=st.sampled_from([None, 10.0, 40.0]),
    time_zone=ZONES,
    since=st.one_of(
        st.just(EPOCH),
        st.integers(0, SLOTS_OF_TWO_WEEKS).map(lambda slot: BASE + HALF_HOUR * slot),
    ),
)
MAIN_RULES = st.builds(
    Rule,
    below_ratio=st.sampled_from([0.5, 0.4, 0.55]),
    more_than=st.integers(1, 5),
    recovered_after=st.integers(1, 3),
    out_of=st.sampled_from([None, None, 7]),
    only_at_peak=st.sampled_from([False, False, True]),
)
OTHER_RULES = st.one_of(
    st.builds(
        Rule, metric=st.just(Metric.LATENCY), above_ms=st.just(40.0), more_than=st.integers(1, 3)
    ),
    st.builds(
        Rule, below_mbps=st.just(200.0), more_than=st.integers(1, 3), name=st.just("slow-fast"),
        tool=st.just("fast"), recovered_after=st.integers(1, 2),
    ),
    st.builds(
        Rule, below_ratio=st.sampled_from([0.9, 0.55, 0.1]), more_than=st.integers(1, 5),
        name=st.just("strict"), only_at_peak=st.booleans(),
    ),
    st.builds(
        Rule, metric=st.just(Metric.UPLOAD), below_ratio=st.sampled_from([0.5, 0.55]),
        more_than=st.integers(1, 3), name=st.sampled_from(["", "up"]),
    ),
)  # fmt: skip


Change = Plan | Rule | str
"""The name of a rule: that it is deleted."""


@dataclass
class Story:
    """What happens to one probe. `arrivals` are the batches of each process."""

    probe: str
    shake: int
    runs: list[Run]
    deleted: list[Run]
    before: list[Change]
    meanwhile: list[Change]
    arrivals: list[list[list[Run]]]
    now: datetime
    plans: dict[datetime, Plan] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=lambda: {"DOWNLOAD": DEFAULT_RULE})

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """As Hypothesis shows it: without its runs, which are many."""
        told = f"Story of {len(self.runs)} runs, before={self.before}, meanwhile={self.meanwhile}"
        printer.text(told)

    def world(self) -> World:
        for change in (*self.before, *self.meanwhile):
            if isinstance(change, Plan):
                self.plans[change.since] = change
            elif isinstance(change, Rule):
                self.rules[rule_key(change)] = change
            elif self.rules.pop(change, None) and change == "DOWNLOAD":
                self.rules[change] = DEFAULT_RULE
        gone = {run["id"] for run in self.deleted}
        standing = [run for run in self.runs if run["id"] not in gone]
        return World(standing, list(self.plans.values()), self.rules)


CHANGES: st.SearchStrategy[Change] = st.one_of(
    PLANS, MAIN_RULES, OTHER_RULES, st.sampled_from(["DOWNLOAD", "LATENCY", "UPLOAD"])
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    probe, shake = f"p-{uuid4().hex[:12]}", uuid4().int >> 20
    is_calm = draw(st.booleans())
    # What is announced hangs on when it is known, if it was ever longer than two days ago.
    slots = SLOTS_OF_TWO_WEEKS if is_calm else SLOTS_OF_TWO_DAYS
    first = BASE if is_calm else BASE + HALF_HOUR * NEAR_A_CHANGE
    # Some share a moment, so that ties are among the cases.
    draws = st.tuples(st.integers(0, slots), st.sampled_from(DRAWN))
    drawn = sorted(draw(st.lists(draws, min_size=40, max_size=200)))
    runs = [
        a_run(probe, n, first + HALF_HOUR * slot, kind, shake)
        for n, (slot, kind) in enumerate(drawn)
    ]
    again = draw(st.lists(st.sampled_from(runs), max_size=8))
    arriving = draw(st.permutations([*runs, *again]))
    cuts = draw(st.lists(st.integers(1, len(arriving)), max_size=9))
    batches = [arriving[a:b] for a, b in pairwise(sorted({0, *cuts, len(arriving)}))]
    return Story(
        probe,
        shake,
        runs,
        [] if is_calm else draw(st.lists(st.sampled_from(runs), max_size=3, unique_by=id)),
        [draw(PLANS), draw(MAIN_RULES), *draw(st.lists(CHANGES, max_size=2))],
        [] if is_calm else draw(st.lists(CHANGES, max_size=3)),
        [batches[process::PROCESSES] for process in range(PROCESSES)],
        first + HALF_HOUR * slots + timedelta(hours=30 if is_calm else 1),
    )


class PlansInSmallSteps(Plans):
    """So that runs arrive in the middle of being judged again."""

    @property
    def rejudge(self) -> Rejudge:
        return Rejudge(self.store, self.clock, chunk_runs=20)


@dataclass
class Stage:
    """Where a story is played."""

    stores: list[Store]
    story: Story

    def clock(self) -> datetime:
        return self.story.now

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.stores[0], self.clock)

    async def play(self) -> None:
        for change in self.story.before:
            await self._change(change)
        changes = iter(self.story.meanwhile)
        doing = (self._plan_letters, self._give_leave, lambda: self._change_the_next(changes))
        lanes = zip(self.stores, self.story.arrivals, doing, strict=True)
        await asyncio.gather(*(self._submit(*lane) for lane in lanes), self._delete())
        for change in changes:
            await self._change(change)
        await self._delete()
        await self._plan_letters()
        await self._give_leave()
        await self._roll_up()

    async def _submit(
        self, store: Store, batches: list[list[Run]], also: Callable[[], Awaitable[None]]
    ) -> None:
        ingest = Ingest(store, self.clock)
        for batch in batches:
            result = await ingest.submit(batch, None)
            assert result.rejected == []
            await also()

    async def _change_the_next(self, changes: Iterator[Change]) -> None:
        for change in islice(changes, 1):
            await self._change(change)
        await self._roll_up()

    async def _change(self, change: Change) -> None:
        plans, probe = PlansInSmallSteps(self.stores[-1], self.clock), self.story.probe
        if isinstance(change, Plan):
            await plans.set_plan(probe, change)
        elif isinstance(change, Rule):
            await plans.set_rule(probe, change)
        else:
            await plans.delete_rule(f"{probe}/{change}")

    async def _delete(self) -> None:
        deletion = Deletion(self.stores[1], self.clock)
        for run in self.story.deleted:
            try:
                await deletion.delete(UUID(run["id"]), "measured through a phone", "operator")
            except NotFoundError:
                continue  # not here yet

    async def _plan_letters(self) -> None:
        """As the bots do: an opening for each open breach that is news."""
        query = {"probe": self.story.probe, "status": "OPEN", "stale": False}
        for breach in await BreachDocument.find(query).to_list():
            await self.ledger.draft(a_draft(breach), "bot")

    async def _give_leave(self) -> None:
        query = {"probe": self.story.probe, "status": "PLANNED"}
        for notice in await NoticeDocument.find(query).to_list():
            with contextlib.suppress(ConflictError):  # withdrawn meanwhile
                await self.ledger.approve(notice.id, notice.digest, "operator")

    async def _roll_up(self) -> None:
        standards = await load_standards(self.stores[0], self.story.probe)
        database = self.stores[0].database
        rules = standards.pure_rules
        await Rollups(database, self.story.probe, standards.pure_plans, rules).refresh()


@pytest.fixture
async def stores(store: Store, mongod: Mongod) -> Any:
    others = [connect(mongod.uri, store.database.name) for _ in range(PROCESSES - 1)]
    yield [store, *others]
    for other in others:
        await other.close()


@given(story=stories())
@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_order_split_repetition_and_interleaving_ends_as_the_model_says(
    stores: list[Store], story: Story
) -> None:
    await Stage(stores, story).play()
    world, store = story.world(), stores[0]
    assert story.probe not in await probes_behind(store)
    assert await stored_breaches(store, story.probe) == sorted(world.breaches(), key=repr)
    assert await may_leave(store, story.probe) == world.news(story.now)
    assert await stored_buckets(store, story.probe) == modelled_buckets(world)


@given(story=stories(), changes=st.lists(CHANGES, min_size=1, max_size=3))
@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_preview_foretells_exactly_what_the_change_then_does(
    stores: list[Store], story: Story, changes: list[Change]
) -> None:
    stage, probe = Stage(stores, story), story.probe
    await stage.play()
    plans = Plans(stores[0], stage.clock)
    for change in changes:
        before, known = await figures_by_id(probe), await stored_by_id(probe)
        try:
            preview = await plans.preview(**proposed(probe, change))
        except NotFoundError:
            continue  # there is no such rule to delete
        assert await figures_by_id(probe) == before
        await stage._change(change)
        after = await figures_by_id(probe)
        foretold = {
            told.before.id: figures_of(told.after)
            for told in preview.changes
            if told.before is not None
        }
        new = [figures_of(told.after) for told in preview.changes if told.before is None]
        assert {key: after.get(key) for key in before} == before | foretold
        kept = await stored_by_id(probe)
        assert {key for key in known if kept.get(key) != known[key]} == set(foretold)
        assert sorted(repr(after[key]) for key in after.keys() - before) == sorted(map(repr, new))


def proposed(probe: str, change: Change) -> dict[str, Any]:
    if isinstance(change, Plan):
        return {"plan": (probe, change)}
    if isinstance(change, Rule):
        return {"rule": (probe, change)}
    return {"delete_rule": f"{probe}/{change}"}


async def figures_by_id(probe: str) -> dict[str, Any]:
    query = {"probe": probe, "status": {"$ne": "RETRACTED"}}
    return {
        breach.id: (
            breach.first_run_at, breach.opened_at, breach.last_run_at, breach.resolved_at,
            breach.bad_count, breach.median,
        )
        for breach in await BreachDocument.find(query).to_list()
    }  # fmt: skip


def figures_of(episode: Episode | None) -> Any:
    if episode is None:
        return None
    return (
        episode.first_run_at, episode.opened_at, episode.last_run_at, episode.resolved_at,
        episode.count, episode.median,
    )  # fmt: skip


async def stored_by_id(probe: str) -> dict[str, Any]:
    """All that is on record of the breaches that stand."""
    query = {"probe": probe, "status": {"$ne": "RETRACTED"}}
    return {breach.id: breach.model_dump() for breach in await BreachDocument.find(query).to_list()}


async def may_leave(store: Store, probe: str) -> set[tuple[str, str]]:
    """The breaches of the letters that nothing holds back."""
    waiting = store["notices"].find(
        {"probe": probe, "status": {"$in": ["PLANNED", "APPROVED", "DUE"]}}
    )
    found: set[tuple[str, str]] = set()
    async for notice in waiting:
        breach = await store["breaches"].find_one({"_id": notice["breach"]})
        assert breach is not None
        assert breach["status"] != "RETRACTED"
        if breach["status"] == "OPEN":
            found.add((breach["rule_key"], str(breach["first_run"])))
    return found
