"""Reading what is stored: pages, single things, and what belongs to a breach or a probe."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric, Observation, Rule
from speedtrap_graph.services.judging.observations import observation_of, observed
from speedtrap_graph.services.judging.standards import Standards, load_standards, pure_rule
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import (
    BreachDocument,
    NoticeDocument,
    PlanDocument,
    ProbeDocument,
    RunDocument,
    SilenceDocument,
)
from speedtrap_graph.store.paging import CursorError, Order, Page, newest_first

MOST_ON_A_PAGE = 500
MOST_RUNS_OF_A_BREACH = 500
_LONGEST_STREAK_READ = 10_000

_RUNS = Order("runs", "started_at", UUID)
_BREACHES = Order("breaches", "opened_at")
_CONTENT = "attachments.content"
_NOTICES = Order("notices", "planned_at", left_out=(_CONTENT,))


@dataclass(frozen=True, slots=True)
class RunFilter:
    probe: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcomes: Sequence[str] | None = None


class Heard(NamedTuple):
    """What a run says to a breach's rule: `broken` None where it says nothing. `in_breach`: it is
    one of the bad ones that the breach counts.
    """

    observation: Observation
    broken: bool | None
    in_breach: bool


@dataclass(frozen=True)
class Browse:
    store: Store

    async def probes(self) -> list[ProbeDocument]:
        return await ProbeDocument.find_all().sort("+_id").to_list()

    async def probe(self, name: str) -> ProbeDocument | None:
        return await ProbeDocument.get(name)

    async def plans(self) -> list[PlanDocument]:
        return await PlanDocument.find_all().sort("-since", "+_id").to_list()

    async def run(self, run_id: UUID) -> RunDocument | None:
        return await RunDocument.get(run_id)

    async def breach(self, breach_id: str) -> BreachDocument | None:
        return await BreachDocument.get(breach_id)

    async def notice(self, notice_id: str) -> NoticeDocument | None:
        return await NoticeDocument.get(notice_id)

    async def runs(self, wanted: RunFilter, first: int, after: str | None) -> Page:
        query: Row = {}
        if wanted.probe is not None:
            query["probe"] = wanted.probe
        bounds = {"$gte": wanted.since, "$lt": wanted.until}
        started = {sign: moment for sign, moment in bounds.items() if moment is not None}
        if started:
            query["started_at"] = started
        if wanted.outcomes is not None:
            query["outcome"] = {"$in": list(wanted.outcomes)}
        return await self._page(_RUNS, query, first, after)

    async def breaches(
        self, probe: str | None, status: Sequence[str] | None, first: int, after: str | None
    ) -> Page:
        query = _given(probe=probe, status=status)
        return await self._page(_BREACHES, query, first, after)

    async def notices(
        self, breach: str | None, status: Sequence[str] | None, first: int, after: str | None
    ) -> Page:
        query = _given(breach=breach, status=status)
        return await self._page(_NOTICES, query, first, after)

    async def _page(self, order: Order, wanted: Row, first: int, after: str | None) -> Page:
        if not 1 <= first <= MOST_ON_A_PAGE:
            raise BadInputError(f"first must be 1 to {MOST_ON_A_PAGE}, not {first}", field="first")
        try:
            return await newest_first(self.store, order, wanted, first, after)
        except CursorError as error:
            raise BadInputError(str(error), field="after") from error

    async def breaches_by_id(self, ids: Sequence[str]) -> dict[str, BreachDocument]:
        found = await BreachDocument.find({"_id": {"$in": list(ids)}}).to_list()
        return {breach.id: breach for breach in found}

    async def notices_of(self, breaches: Sequence[str]) -> list[NoticeDocument]:
        """Of several breaches at once, newest first, without the attachments' content."""
        wanted = {"breach": {"$in": list(breaches)}}
        rows = self.store["notices"].find(wanted, {_CONTENT: 0})
        newest = rows.sort([("planned_at", -1), ("_id", -1)])
        return [NoticeDocument.model_validate(row) async for row in newest]

    async def notices_by_id(self, ids: Sequence[str]) -> dict[str, NoticeDocument]:
        rows = self.store["notices"].find({"_id": {"$in": list(ids)}}, {_CONTENT: 0})
        return {row["_id"]: NoticeDocument.model_validate(row) async for row in rows}

    async def contents_of(self, notices: Sequence[str]) -> dict[str, list[bytes]]:
        """The attachments' contents by notice, in their order."""
        rows = self.store["notices"].find({"_id": {"$in": list(notices)}}, {_CONTENT: 1})
        return {
            row["_id"]: [part["content"] for part in row.get("attachments", [])]
            async for row in rows
        }

    async def open_breaches(self, probes: Sequence[str]) -> list[BreachDocument]:
        """Of several probes at once; those of the download rule last, so that they win."""
        wanted = {"probe": {"$in": list(probes)}, "status": "OPEN"}
        found = await BreachDocument.find(wanted).to_list()
        return sorted(found, key=lambda breach: breach.metric == Metric.DOWNLOAD)

    async def silences(self, probes: Sequence[str], now: datetime) -> list[SilenceDocument]:
        wanted = {"_id": {"$in": list(probes)}, "until": {"$gt": now}}
        return await SilenceDocument.find(wanted).to_list()

    async def last_runs(self, probes: Sequence[str]) -> dict[str, Row]:
        """Their newest runs; those without one are left out."""
        known = self.store["probes"].find({"_id": {"$in": list(probes)}}, {"newest.id": 1})
        newest = [row["newest"]["id"] async for row in known if row.get("newest")]
        wanted = {"_id": {"$in": newest}, "probe": {"$in": list(probes)}}
        rows = self.store["runs"].find(wanted).hint([("_id", 1)])
        found = {row["probe"]: row async for row in rows}
        for probe in set(probes) - found.keys():
            # What the probe's document names is gone, or it is of before it named any.
            order = [("started_at", -1), ("_id", -1)]
            row = await self.store["runs"].find_one({"probe": probe}, sort=order)
            if row is not None:
                found[probe] = row
        return found

    async def streak(self, probe: str, standards: Standards, last_run: Row | None) -> int:
        """Observations below the download rule in a row, up to now."""
        rule = standards.download_rule or DEFAULT_RULE
        plans = standards.pure_plans
        if last_run is None or broken(observation_of(last_run, plans, rule), rule) is False:
            return 0
        newest = self.store["runs"].find(
            {"probe": probe}, observed([rule]), limit=_LONGEST_STREAK_READ
        )
        count = 0
        async for row in newest.sort([("started_at", -1), ("_id", -1)]):
            verdict = broken(observation_of(row, standards.pure_plans, rule), rule)
            if verdict is False:
                break
            count += verdict is True
        return count

    async def runs_of_breach(self, breach: BreachDocument) -> list[RunDocument]:
        """Those that broke the rule and the silent ones between, oldest first; the newest 500.

        Without those that the rule is not about, as off-peak ones for a rule of the peak.
        """
        standards = await load_standards(self.store, breach.probe)
        rule = pure_rule(breach.rule)
        span = {"$gte": breach.first_run_at, "$lte": breach.last_run_at}
        found: list[RunDocument] = []
        newest = self.store["runs"].find({"probe": breach.probe, "started_at": span})
        async for row in newest.sort([("started_at", -1), ("_id", -1)]):
            observation = observation_of(row, standards.pure_plans, rule)
            if observation.threshold is None or broken(observation, rule) is False:
                continue
            found.append(RunDocument.model_validate(row))
            if len(found) == MOST_RUNS_OF_A_BREACH:
                break
        return found[::-1]

    async def runs_around_breach(self, breach: BreachDocument, hours: int) -> list[RunDocument]:
        """All runs from *hours* before it began until *hours* after it ended, oldest first."""
        newest = RunDocument.find(_around(breach, hours))
        found = await newest.sort("-started_at", "-_id").limit(MOST_RUNS_OF_A_BREACH).to_list()
        return found[::-1]

    async def observations_around_breach(self, breach: BreachDocument, hours: int) -> list[Heard]:
        """What these runs say to the breach's rule, oldest first."""
        standards = await load_standards(self.store, breach.probe)
        rule = pure_rule(breach.rule)
        newest = self.store["runs"].find(_around(breach, hours), observed([rule]))
        rows = newest.sort([("started_at", -1), ("_id", -1)]).limit(2 * MOST_RUNS_OF_A_BREACH)
        found = [observation_of(row, standards.pure_plans, rule) async for row in rows]
        return [_heard(observation, rule, breach) for observation in found[::-1]]


def _heard(observation: Observation, rule: Rule, breach: BreachDocument) -> Heard:
    is_bad = broken(observation, rule)
    is_within = breach.first_run_at <= observation.started_at <= breach.last_run_at
    return Heard(observation, is_bad, is_bad is True and is_within)


def _around(breach: BreachDocument, hours: int) -> Row:
    if not 0 <= hours <= 24 * 31:
        raise BadInputError(f"hours must be 0 to {24 * 31}, not {hours}", field="hours")
    margin = timedelta(hours=hours)
    span: Row = {"$gte": breach.first_run_at - margin}
    if breach.resolved_at is not None:
        span["$lte"] = breach.resolved_at + margin
    return {"probe": breach.probe, "started_at": span}


def _given(**wanted: Any) -> Row:
    query: Row = {}
    for name, value in wanted.items():
        if isinstance(value, str):
            query[name] = value
        elif value is not None:
            query[name] = {"$in": list(value)}
    return query
