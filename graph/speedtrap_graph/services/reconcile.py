"""Makes a probe's stored breaches those that its runs call for. Runs inside a transaction."""

import hashlib
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from speedtrap_graph.rules.model import Episode, Metric, Observation, Plan, Rule
from speedtrap_graph.rules.plans import subscribed
from speedtrap_graph.rules.streaks import ResetScan, episodes, sort_key
from speedtrap_graph.services.facts import OBSERVED, observation_of
from speedtrap_graph.services.matching import match
from speedtrap_graph.services.standards import Standards, pure_plan, pure_rule
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE, BreachDocument, RuleDocument
from speedtrap_graph.store.events import PendingEvent, append_events

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_NEWEST_FIRST = [("started_at", -1), ("_id", -1)]
_OLDEST_FIRST = [("started_at", 1), ("_id", 1)]

_READ_AHEAD = 25
"""A reset is mostly a run or two away: the driver's 101 would be read for nothing."""

RunKey = tuple[datetime, UUID]


@dataclass(frozen=True)
class Window:
    """Observations between two points where the past and the future do not matter."""

    observations: list[Observation]

    def holds(self, breach: BreachDocument) -> bool:
        if not self.observations:
            return False
        first, last = self.observations[0], self.observations[-1]
        return sort_key(first) <= (breach.first_run_at, breach.first_run) <= sort_key(last)


@dataclass(frozen=True)
class Reconciler:
    """The breaches of one probe, in one transaction, at one moment."""

    store: Store
    session: Session
    probe: str
    standards: Standards
    now: datetime

    async def around(self, changed: Iterable[RunKey]) -> None:
        """After runs came: each rule's breaches in the neighbourhood of those runs."""
        keys = sorted(changed)
        pending: list[PendingEvent] = []
        for document in self.standards.rules:
            rule = pure_rule(document)
            window = await self._window(rule, keys[0], keys[-1])
            nearby = await self._stored(rule.metric, window)
            pending += await self._replace(document, episodes(window.observations, rule), nearby)
        await append_events(self.store, self.session, pending, self.now)

    async def everything(self) -> None:
        """After a plan or a rule changed: all breaches of the probe."""
        pending: list[PendingEvent] = []
        for document in self.standards.rules:
            rule = pure_rule(document)
            rows = self._runs(None, _OLDEST_FIRST)
            observations = await _Scan(self.standards.pure_plans, rule).all(rows, lambda _: True)
            stored = await self._stored(rule.metric, None)
            pending += await self._replace(document, episodes(observations, rule), stored)
        await append_events(self.store, self.session, pending, self.now)

    async def _window(self, rule: Rule, first: RunKey, last: RunKey) -> Window:
        """Runs of the same millisecond are told apart here: in a query it would cost an $or."""
        older = self._runs({"$lte": first[0]}, _NEWEST_FIRST)
        newer = self._runs({"$gte": last[0]}, _OLDEST_FIRST)
        between = self._runs({"$gte": first[0], "$lte": last[0]}, _OLDEST_FIRST)
        scan = _Scan(self.standards.pure_plans, rule)
        return Window(
            [
                *reversed(await scan.until_reset(older, lambda key: key < first)),
                *await scan.all(between, lambda key: first <= key <= last),
                *await scan.until_reset(newer, lambda key: key > last),
            ]
        )

    def _runs(self, started_at: Row | None, order: list[tuple[str, int]]) -> AsyncIterable[Row]:
        query: Row = {"probe": self.probe}
        if started_at is not None:
            query["started_at"] = started_at
        found = self.store["runs"].find(query, OBSERVED, session=self.session)
        return found.sort(order).batch_size(_READ_AHEAD).hint(RUNS_OF_A_PROBE)

    async def _stored(self, metric: Metric, window: Window | None) -> list[BreachDocument]:
        wanted: Row = {
            "probe": self.probe,
            "metric": metric.value,
            "status": {"$ne": "RETRACTED"},
        }
        if window is not None and window.observations:
            wanted["first_run_at"] = {
                "$gte": window.observations[0].started_at,
                "$lte": window.observations[-1].started_at,
            }
        rows = self.store["breaches"].find(wanted, session=self.session)
        found = [BreachDocument.model_validate(row) async for row in rows]
        return found if window is None else [breach for breach in found if window.holds(breach)]

    async def _replace(
        self, rule: RuleDocument, found: list[Episode], stored: list[BreachDocument]
    ) -> list[PendingEvent]:
        matching = match(found, stored)
        by_id = {breach.id: breach for breach in stored}
        pending: list[PendingEvent] = []
        for fallen in matching.fallen:
            pending += await self._retract(by_id[fallen])
        for episode, breach_id in matching.pairs:
            if breach_id is None:
                pending += await self._open(episode, rule)
            else:
                pending += await self._update(by_id[breach_id], episode, rule)
        return pending

    async def _retract(self, breach: BreachDocument) -> list[PendingEvent]:
        await self.store["breaches"].update_one(
            {"_id": breach.id}, {"$set": {"status": "RETRACTED"}}, session=self.session
        )
        return [] if breach.stale else [PendingEvent("RETRACTED", breach.id, self.probe)]

    async def _open(self, episode: Episode, rule: RuleDocument) -> list[PendingEvent]:
        stale = episode.resolved_at is not None
        breach_id = uuid4().hex
        row = {
            "_id": breach_id,
            "reference": reference_of(breach_id),
            "probe": self.probe,
            "stale": stale,
            "known_at": self.now,
            **self._fields(episode, rule),
        }
        await self.store["breaches"].insert_one(row, session=self.session)
        return [] if stale else [PendingEvent("OPENED", breach_id, self.probe)]

    async def _update(
        self, before: BreachDocument, episode: Episode, rule: RuleDocument
    ) -> list[PendingEvent]:
        fields = self._fields(episode, rule)
        kind = _what_happened(before, fields)
        fields["stale"] = before.stale and fields["status"] != "OPEN"
        await self.store["breaches"].update_one(
            {"_id": before.id}, {"$set": fields}, session=self.session
        )
        if kind is None or fields["stale"]:
            return []
        return [PendingEvent(kind, before.id, self.probe)]

    def _fields(self, episode: Episode, rule: RuleDocument) -> dict[str, Any]:
        plan = self.standards.plan_document_at(episode.first_run_at)
        if plan is None:
            raise LookupError("a run without a plan was judged to be bad")
        pure = pure_plan(plan)
        promised = subscribed(pure, Metric(rule.metric)) or pure.download_mbps
        return {
            "metric": rule.metric,
            "rule": _part(rule),
            "plan": _part(plan),
            "status": "OPEN" if episode.resolved_at is None else "RESOLVED",
            "first_run_at": episode.first_run_at,
            "first_run": episode.bad_run_ids[0],
            "opened_at": episode.opened_at,
            "last_run_at": episode.last_run_at,
            "resolved_at": episode.resolved_at,
            "bad_count": episode.count,
            "median": episode.median,
            "subscribed_mbps": promised,
        }


def reference_of(breach_id: str) -> str:
    """`ST-XXXXXX` in Crockford's base 32: short enough for a phone call, and no O for a 0."""
    bits = int.from_bytes(hashlib.sha256(breach_id.encode()).digest()[:4], "big")
    return "ST-" + "".join(_CROCKFORD[bits >> shift & 31] for shift in range(25, -1, -5))


def _what_happened(before: BreachDocument, fields: dict[str, Any]) -> str | None:
    if before.stale and fields["status"] == "OPEN":
        return "OPENED"
    if before.status == "OPEN" and fields["status"] == "RESOLVED":
        return "RESOLVED"
    same = (before.status, before.bad_count, before.first_run_at, before.last_run_at) == (
        fields["status"],
        fields["bad_count"],
        fields["first_run_at"],
        fields["last_run_at"],
    )
    return None if same else "GREW"


@dataclass(frozen=True)
class _Scan:
    """Reads stored runs as observations of one rule."""

    plans: list[Plan]
    rule: Rule

    async def all(
        self, rows: AsyncIterable[Row], wanted: Callable[[RunKey], bool]
    ) -> list[Observation]:
        found = [observation_of(row, self.plans, self.rule) async for row in rows]
        return [observation for observation in found if wanted(sort_key(observation))]

    async def until_reset(
        self, rows: AsyncIterable[Row], wanted: Callable[[RunKey], bool]
    ) -> list[Observation]:
        scan = ResetScan(self.rule)
        found: list[Observation] = []
        async for row in rows:
            observation = observation_of(row, self.plans, self.rule)
            if not wanted(sort_key(observation)):
                continue
            found.append(observation)
            if scan.take(observation):
                break
        return found


def _part(document: Any) -> dict[str, Any]:
    row: dict[str, Any] = document.model_dump(exclude={"revision_id"})
    return row
