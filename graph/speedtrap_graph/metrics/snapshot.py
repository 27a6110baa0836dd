"""What there is to say of every line and of the house at one moment, read from the database.

So every copy of the service says the same. What is not known is None or missing, never 0.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import FailureKind, Metric, Outcome, Plan, Rule
from speedtrap_graph.rules.plans import plan_at, threshold
from speedtrap_graph.rules.report import ServiceReport
from speedtrap_graph.rules.streaks import Bad, Tail
from speedtrap_graph.services.breaches.rejudge import is_current
from speedtrap_graph.services.breaches.verify import OPEN
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.judging.observations import observation_of
from speedtrap_graph.services.judging.readings import readings_of
from speedtrap_graph.services.judging.standards import Standards, choose
from speedtrap_graph.services.notices.records import SENDING_SWITCH
from speedtrap_graph.services.probes.silence import is_silent
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import PROBE_EVENTS
from speedtrap_graph.store.events import COUNTER
from speedtrap_graph.store.exports import COLLECTION as EXPORTS
from speedtrap_graph.store.probes import EVERY_PROBE, VERSIONS
from speedtrap_graph.store.rollups import MARKS
from speedtrap_graph.store.tails import tails_of

WEEK = timedelta(days=7)
FRESH = timedelta(hours=24)
"""A run that no other was promised to follow speaks for its line for a day."""


@dataclass(frozen=True, slots=True)
class ToolWord:
    """What one tool said in a run: its best figures, or why it has none."""

    tool: str
    figures: Mapping[Metric, float]
    failure: FailureKind | None
    server_id: str | None


@dataclass(frozen=True, slots=True)
class RuleStanding:
    """How one rule stands: `bound` in its metric's unit. `bad` are the runs that count against it
    now, and more than `more_than` of them make a breach. `is_broken` is the newest run's word.
    """

    rule: Rule
    key: str
    bound: float | None
    bad: int | None
    is_broken: bool | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """`is_fresh`: it speaks for the line. A line drawn on through a silence would be false."""

    started_at: datetime
    outcome: Outcome
    best: Mapping[Metric, float]
    tools: tuple[ToolWord, ...]
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One probe's line."""

    probe: str
    run_count: int
    last_seen_at: datetime | None
    is_silent: bool
    plan: Plan | None
    last_run: LastRun | None
    rules: tuple[RuleStanding, ...]
    open_breaches: int


@dataclass(frozen=True, slots=True)
class House:
    """What concerns the service as a whole. Sizes are bytes; `exports` when each exporter was up
    to date last; `events` the newest number of each stream.
    """

    probes: int
    silent_probes: int
    notices: Mapping[tuple[str, str], int]
    sending_is_on: bool
    events: Mapping[str, int]
    exports: Mapping[str, datetime]
    unrolled_spans: int


@dataclass(frozen=True, slots=True)
class Disk:
    """In bytes. Of the file system only where MongoDB tells."""

    data: int
    file_system: int | None
    file_system_used: int | None


@dataclass(frozen=True)
class Census:
    store: Store
    now: datetime
    _of_all: dict[str, Standards] = field(default_factory=dict)

    async def house(self) -> House:
        store = self.store
        silent = {"silent_since": {"$exists": True}}
        counters = {row["_id"]: int(row["seq"]) async for row in store["counters"].find()}
        switched_off = await store["switches"].find_one({"_id": SENDING_SWITCH, "on": False})
        return House(
            probes=await store["probes"].estimated_document_count(),
            silent_probes=await store["probes"].count_documents(silent),
            notices=await self._notices(),
            sending_is_on=switched_off is None,
            events={
                "breaches": counters.get(COUNTER, 0),
                "probes": counters.get(PROBE_EVENTS, 0),
            },
            exports={row["_id"]: row["at"] async for row in store[EXPORTS].find() if row.get("at")},
            unrolled_spans=await store[MARKS].estimated_document_count(),
        )

    async def disk(self) -> Disk:
        found = await self.store.database.command("dbStats")
        total, used = found.get("fsTotalSize"), found.get("fsUsedSize")
        return Disk(
            int(found["totalSize"]),
            None if total is None else int(total),
            None if used is None else int(used),
        )

    async def lines(self, most: int) -> list[Line]:
        """Of at most *most* probes, in the order of their names."""
        rows = await self.store["probes"].find({}, sort=[("_id", 1)], limit=most).to_list()
        names = [row["_id"] for row in rows]
        runs = await self._runs([row["newest"]["id"] for row in rows if row.get("newest")])
        breaches = await self._open_breaches(names)
        standards = await self._standards(names)
        return [self._line(row, runs, standards[row["_id"]], breaches[row["_id"]]) for row in rows]

    async def week(self, probe: str) -> ServiceReport:
        """What the page's report says of the last seven days. After `lines`."""
        standards = self._of_all[probe]
        return await service_report(
            self.store.database,
            probe,
            self.now - WEEK,
            self.now,
            standards.pure_plans,
            standards.pure_rules,
        )

    async def _notices(self) -> dict[tuple[str, str], int]:
        """From the index alone: a notice carries its attachments."""
        index = {"channel": 1, "status": 1, "due_at": 1}
        kind = {"channel": "$channel", "status": "$status"}
        rows = await self.store["notices"].aggregate(
            [{"$group": {"_id": kind, "n": {"$sum": 1}}}], hint=index
        )
        return {(row["_id"]["channel"], row["_id"]["status"]): row["n"] async for row in rows}

    async def _runs(self, ids: Sequence[UUID]) -> dict[UUID, Row]:
        return {row["_id"]: row async for row in self.store["runs"].find({"_id": {"$in": ids}})}

    async def _open_breaches(self, names: Sequence[str]) -> Counter[str]:
        wanted = {"probe": {"$in": names}, "status": OPEN}
        found = self.store["breaches"].find(wanted, {"probe": 1})
        return Counter([row["probe"] async for row in found])

    async def _standards(self, names: Sequence[str]) -> dict[str, Standards]:
        """As `load_standards`, for many at once."""
        mine = {"probe": {"$in": [*names, None]}}
        versions = {row["_id"]: int(row["seq"]) async for row in self.store[VERSIONS].find()}
        plans = _by_probe(await self.store["plans"].find(mine).to_list())
        rules = _by_probe(await self.store["rules"].find(mine).to_list())
        for name in names:
            version = versions.get(EVERY_PROBE, 0), versions.get(name, 0)
            own = [*plans[None], *plans[name]], [*rules[None], *rules[name]]
            self._of_all[name] = choose(name, *own, version)
        return self._of_all

    def _line(
        self, probe: Row, runs: Mapping[UUID, Row], standards: Standards, open_breaches: int
    ) -> Line:
        seen, expected = probe.get("last_seen_at"), probe.get("next_run_at")
        silent = is_silent(seen, expected, self.now)
        plan = plan_at(standards.pure_plans, self.now)
        run = runs.get(probe["newest"]["id"]) if probe.get("newest") else None
        last = None
        if run is not None:
            young = expected is not None or self.now - run["started_at"] <= FRESH
            last = _last_run(run, is_fresh=young and not silent)
        tails: Mapping[str, Tail] = {}
        if is_current(probe, standards) and "tails" in probe:
            pure = {key: rule for key, (_, rule) in standards.keyed_rules.items()}
            tails = tails_of(probe["tails"], pure)
        return Line(
            probe=probe["_id"],
            run_count=probe.get("run_count", 0),
            last_seen_at=seen,
            is_silent=silent,
            plan=plan,
            last_run=last,
            rules=tuple(
                RuleStanding(
                    rule=rule,
                    key=key,
                    bound=threshold(rule, plan),
                    bad=_bad(tails[key]) if key in tails else None,
                    is_broken=None
                    if run is None or last is None or not last.is_fresh
                    else broken(observation_of(run, standards.pure_plans, rule), rule),
                )
                for key, (_, rule) in standards.keyed_rules.items()
            ),
            open_breaches=open_breaches,
        )


def _by_probe(rows: Sequence[Row]) -> defaultdict[str | None, list[Row]]:
    found: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.get("probe")].append(row)
    return found


def _bad(tail: Tail) -> int:
    if tail.running is not None:
        return tail.running.count
    return sum(isinstance(known, Bad) for known in tail.recent)


def _last_run(run: Row, *, is_fresh: bool) -> LastRun:
    return LastRun(
        started_at=run["started_at"],
        outcome=Outcome(run["outcome"]),
        best={Metric(name): value for name, value in run.get("best", {}).items()},
        tools=_words(run["measurements"]),
        is_fresh=is_fresh,
    )


def _words(measurements: Sequence[Mapping[str, Any]]) -> tuple[ToolWord, ...]:
    """One a tool: one that measured twice is as good as its better figures."""
    found: dict[str, ToolWord] = {}
    for measurement, reading in zip(measurements, readings_of(measurements), strict=True):
        server = (measurement.get("server") or {}).get("id")
        word = ToolWord(reading.tool, reading.figures, reading.failure, server)
        known = found.get(reading.tool)
        found[reading.tool] = word if known is None else _better(known, word)
    return tuple(found[tool] for tool in sorted(found))


def _better(first: ToolWord, second: ToolWord) -> ToolWord:
    figures = dict(first.figures)
    for metric, value in second.figures.items():
        choice = max if metric.more_is_better else min
        figures[metric] = choice(figures.get(metric, value), value)
    failure = None if first.failure is None or second.failure is None else second.failure
    return ToolWord(first.tool, figures, failure, second.server_id or first.server_id)
