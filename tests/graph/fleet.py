"""A day of many probes in minutes: clocks that are off, outages, repeated and late deliveries.

Time is the simulation's own. What is delivered goes to one of several copies of the service, some
at once, and in the end every figure of every probe is held against the model.
"""

import asyncio
import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from speedtrap_graph.rules.model import Rule
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.intake.validate import FUTURE_SKEW
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.store.database import Store

from tests.graph.held import modelled_buckets, stored_breaches, stored_buckets
from tests.graph.model import Run, World, start
from tests.graph.rules.builders import a_plan
from tests.lab.line import MovableClock

BEGIN = datetime(2026, 3, 28, 12, tzinfo=UTC)
"""Berlin sets its clocks thirteen hours later."""
DAY = timedelta(days=1)
COPIES = 3
AT_ONCE = 24
DEFAULT_PLAN = a_plan(1000, 100, time_zone="Europe/Berlin")
DEFAULT_RULE = Rule(below_ratio=0.5, more_than=2)
OWN_RULE = Rule(below_ratio=0.8, more_than=3, out_of=5, recovered_after=2)
OWN_PLANS = [
    a_plan(500, 50, time_zone="Asia/Kolkata"),
    a_plan(250, 50, time_zone="Asia/Kolkata", since=BEGIN + timedelta(hours=9)),
]
_INTERVALS_H = (1, 1, 2, 4, 5.5, 5.5)


@dataclass(frozen=True)
class Home:
    """A probe, its runs and when they arrive. `own`: it has plans and a rule of its own."""

    probe: str
    runs: list[Run]
    own: bool
    delivered: list[tuple[datetime, list[Run]]]

    @property
    def world(self) -> World:
        plans, rule = (OWN_PLANS, OWN_RULE) if self.own else ([DEFAULT_PLAN], DEFAULT_RULE)
        return World(self.runs, plans, {"DOWNLOAD": rule})


def a_home(number: int) -> Home:
    draw = random.Random(number)
    probe = f"home-{number:05d}"
    clock_off = timedelta(seconds=draw.randint(-240, 240))
    if draw.random() < 0.02:
        # Set to the time of another country: its runs lie in the future at first.
        clock_off = timedelta(hours=1)
    every = timedelta(hours=draw.choice(_INTERVALS_H))
    how = draw.choice(["good", "good", "good", "slow evenings", "bad"])
    away = _span(draw, 0.2, timedelta(hours=6))
    unsent = _span(draw, 0.15, timedelta(hours=9))
    runs: list[Run] = []
    waiting: list[Run] = []
    delivered: list[tuple[datetime, list[Run]]] = []
    at = BEGIN + every * draw.random()
    while at < BEGIN + DAY:
        down = away[0] <= at < away[1]
        run = _a_run(draw, probe, number << 16 | len(runs), at + clock_off, how, down=down)
        runs.append(run)
        waiting.append(run)
        if not down and not unsent[0] <= at < unsent[1]:
            delivered.append((at + timedelta(minutes=1), waiting))
            waiting = []
        at += every
    if waiting:
        delivered.append((BEGIN + DAY + timedelta(hours=1), waiting))
    again = [
        (at + timedelta(minutes=draw.randint(1, 300)), batch)
        for at, batch in delivered
        if draw.random() < 0.1
    ]
    return Home(probe, runs, number % 10 == 7, [*delivered, *again])


def _span(draw: random.Random, share: float, longest: timedelta) -> tuple[datetime, datetime]:
    """When something lasts, for a share of the homes."""
    if draw.random() >= share:
        return BEGIN, BEGIN
    since = BEGIN + DAY * draw.random()
    return since, since + longest * draw.random()


def _a_run(
    draw: random.Random, probe: str, number: int, at: datetime, how: str, *, down: bool
) -> Run:
    started = at.replace(microsecond=0)
    moment = started.isoformat()
    measurements: list[dict[str, Any]] = []
    is_bad = how == "bad" or (how == "slow evenings" and started.hour in {18, 19, 20, 21, 22})
    usual = draw.uniform(60, 300) if is_bad and draw.random() < 0.9 else draw.uniform(510, 990)
    for tool, share in (("ookla", 1.0), ("fast", draw.uniform(0.3, 1.0))):
        measurement: dict[str, Any] = {"tool": tool, "startedAt": moment, "durationS": 9}
        if down or draw.random() < 0.04:
            measurement["failure"] = {"kind": "TIMEOUT", "message": "no answer"}
        else:
            measurement["downloadMbps"] = round(usual * share, 2)
        measurements.append(measurement)
    conditions: dict[str, Any] = {"lineUp": not down}
    if draw.random() < 0.05:
        conditions["crossTrafficMbps"] = 150.0
    return {
        "id": str(UUID(int=number)),
        "probe": probe,
        "startedAt": moment,
        "finishedAt": (started + timedelta(seconds=40)).isoformat(),
        "conditions": conditions,
        "measurements": measurements,
    }


@dataclass
class Fleet:
    """All homes, and the copies of the service that their probes talk to."""

    store: Store
    homes: Sequence[Home]
    clock: MovableClock = field(default_factory=lambda: MovableClock(BEGIN))
    accepted: int = 0
    repeated: int = 0
    too_early: int = 0

    async def live(self) -> None:
        plans = Plans(self.store, self.clock)
        await plans.set_plan(None, DEFAULT_PLAN)
        await plans.set_rule(None, DEFAULT_RULE)
        for home in self.homes:
            if home.own:
                for plan in OWN_PLANS:
                    await plans.set_plan(home.probe, plan)
                await plans.set_rule(home.probe, OWN_RULE)
        copies = [Ingest(self.store, self.clock) for _ in range(COPIES)]
        number = count()
        post = [(at, next(number), batch) for home in self.homes for at, batch in home.delivered]
        heapq.heapify(post)
        while post:
            together = [heapq.heappop(post) for _ in range(min(AT_ONCE, len(post)))]
            self.clock.now = max(self.clock.now, together[-1][0])
            left = await asyncio.gather(
                *(
                    self._submit(copies[place % COPIES], batch)
                    for place, (_, _, batch) in enumerate(together)
                )
            )
            for batch in filter(None, left):
                # A probe keeps what was not taken, and tries again.
                again = self.clock.now + timedelta(minutes=25)
                heapq.heappush(post, (again, next(number), batch))

    async def _submit(self, copy: Ingest, batch: list[Run]) -> list[Run]:
        """What was refused because it lies in the future."""
        result = await copy.submit(batch, None)
        latest = self.clock() + FUTURE_SKEW
        early = [run for run in batch if datetime.fromisoformat(run["finishedAt"]) > latest]
        assert sorted(refused.id or "" for refused in result.rejected) == sorted(
            run["id"] for run in early
        )
        self.accepted += len(result.accepted)
        self.repeated += len(result.duplicates)
        self.too_early += len(early)
        return early

    async def compare(self) -> list[str]:
        """The probes that have a figure that is not the model's."""
        wrong: list[str] = []
        told = await self._told()
        for start_at in range(0, len(self.homes), AT_ONCE):
            part = self.homes[start_at : start_at + AT_ONCE]
            fine = await asyncio.gather(
                *(self._is_exact(home, told.get(home.probe, {})) for home in part)
            )
            wrong += [home.probe for home, exact in zip(part, fine, strict=True) if not exact]
        return wrong

    async def _is_exact(self, home: Home, told: dict[str, str]) -> bool:
        store, world = self.store, home.world
        standards = await load_standards(store, home.probe)
        plans, rules = standards.pure_plans, standards.pure_rules
        await Rollups(store.database, home.probe, plans, rules).refresh()
        probe = await store["probes"].find_one({"_id": home.probe}) or {}
        since, until = BEGIN - DAY, BEGIN + 3 * DAY
        report = await service_report(store.database, home.probe, since, until, plans, rules)
        reported = (
            report.n, report.outage_runs, report.inconclusive_runs, report.median_mbps,
            report.below_count, report.longest_streak,
        )  # fmt: skip
        return (
            (probe.get("run_count"), probe.get("first_run_at"))
            == (len(home.runs), min(map(start, home.runs), default=None))
            and await stored_breaches(store, home.probe) == sorted(world.breaches(), key=repr)
            and await stored_buckets(store, home.probe) == modelled_buckets(world)
            and reported == world.figures()
            and await self._is_told(home.probe, told)
        )

    async def _told(self) -> dict[str, dict[str, str]]:
        """What the events, read one after the other, end with: of each probe its breaches. In one
        go, as no index leads to the events of one probe.
        """
        told: dict[str, dict[str, str]] = {}
        async for event in self.store["events"].find().sort("_id", 1):
            told.setdefault(event["probe"], {})[event["breach"]] = event["kind"]
        return told

    async def _is_told(self, probe: str, told: dict[str, str]) -> bool:
        """Whether the events say what the breaches do."""
        breaches = await self.store["breaches"].find({"probe": probe, "stale": False}).to_list()
        becomes = {"OPENED": "OPEN", "GREW": "OPEN"}
        return {breach["_id"]: breach["status"] for breach in breaches} == {
            key: becomes.get(kind, kind) for key, kind in told.items()
        }


def simulated(store: Store, size: int) -> Fleet:
    """*size* homes, always the same ones."""
    return Fleet(store, [a_home(number) for number in range(size)])
