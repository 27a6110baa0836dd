"""Judges a probe's history again after its plans or rules changed.

A version (`store.probes`) that is raised in the same transaction as a plan or a rule makes every
probe that it concerns lag behind, durably: whoever notices first, a submission, the request that
made the change or the sweep of any copy, judges again. It goes from the oldest run to the newest in
short transactions, as MongoDB gives none more than a minute, and can be interrupted between any
two. Runs that are submitted meanwhile are stored, and judged when their turn comes: one that lies
behind the work sets it back to there.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from speedtrap_graph.clock import Clock
from speedtrap_graph.rules.streaks import Tail
from speedtrap_graph.services.breaches.reconcile import Reconciler, later, later_of
from speedtrap_graph.services.history.rollups import mark
from speedtrap_graph.services.judging.observations import judged
from speedtrap_graph.services.judging.standards import Standards, load_standards
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE, BreachDocument
from speedtrap_graph.store.probes import (
    bump_probe,
    probes_behind,
    raise_version,
    version_of,
)
from speedtrap_graph.store.tails import tail_rows, tails_of

_log = logging.getLogger(__name__)

CHUNK_RUNS = 1000
"""A quarter of a second's work, under locks that a submission waits for."""
_BECAUSE = "by the plans and rules as they are now"
_JUDGED = ("outcome", "outcome_reason", "best", "limits", "doubtful")
_GONE = ("doubted",)
"""What earlier versions stored."""


def is_current(document: Row, standards: Standards) -> bool:
    """Whether all of a probe's runs are judged by *standards*."""
    return "rejudging" not in document and document.get("judged_by") == list(standards.version)


def set_back(document: Row, moment: datetime) -> Row:
    """The fields of the probe's document after a change at *moment* that has yet to be judged."""
    work = document.get("rejudging")
    if work is None or work["behind"] is None or work["behind"] <= moment:
        return {}
    return {"rejudging": {**work, "behind": moment, "tails": None}}


@dataclass(frozen=True)
class Rejudge:
    store: Store
    clock: Clock
    every_s: float = 60.0
    chunk_runs: int = CHUNK_RUNS

    async def forever(self) -> None:
        """Takes up what was interrupted; several copies may do this at once."""
        while True:
            try:
                await self.sweep()
            except PyMongoError as error:
                _log.warning("judging again waits for MongoDB: %s", type(error).__name__)
            await asyncio.sleep(self.every_s)

    async def sweep(self) -> None:
        for probe in await probes_behind(self.store):
            await self.probe(probe)

    async def from_the_start(self, probe: str | None) -> list[str]:
        """Judges all runs of *probe*, or of every one, whether anything changed or not."""

        async def work(session: Session) -> None:
            await raise_version(self.store, session, probe)

        await self.store.transaction(work)
        return await self.concerned(probe)

    async def concerned(self, probe: str | None) -> list[str]:
        """After a change for *probe*, or for all: judges its runs again. Which ones these are."""
        wanted = {} if probe is None else {"_id": probe}
        rows = await self.store["probes"].find(wanted, {"_id": 1}).sort("_id", 1).to_list()
        names = [row["_id"] for row in rows]
        for name in names:
            await self.probe(name)
        return names

    async def probe(self, name: str) -> None:
        """Until all of its runs are judged by what is in force."""

        async def work(session: Session) -> bool:
            return await _Chunk(self, session, name).judge()

        while await self.store.transaction(work):
            pass


@dataclass
class _Chunk:
    """One transaction of the work on one probe."""

    rejudge: Rejudge
    session: Session
    probe: str

    async def judge(self) -> bool:
        """Whether there is more to do."""
        store, session = self.rejudge.store, self.session
        document = await bump_probe(store, session, self.probe)
        version = list(await version_of(store, self.probe, session))
        work = document.get("rejudging")
        if work is None and document.get("judged_by") == version:
            return False
        if work is None or work["version"] != version:
            work = {"version": version, "behind": None, "tails": []}
        standards = await load_standards(store, self.probe, session)
        raw_since = document.get("raw_since")
        if raw_since is not None:
            work = {**work, "behind": later_of(work["behind"], raw_since)}
        rows, end = await self._runs(work["behind"])
        changed = await self._judge_runs(rows, standards)
        tails = await self._reconcile(work, rows, end, standards, raw_since)
        fields: Row = {"rejudging": {**work, "behind": end, "tails": tail_rows(tails)}}
        update: Row = {"$set": fields}
        if end is None:
            # Even if no run changed, the buckets are to be held against the new standard.
            changed.append(self.rejudge.clock())
            update = {
                "$set": self._done(document, rows, tails, version),
                "$unset": {"rejudging": ""},
            }
        await store["probes"].update_one({"_id": self.probe}, update, session=session)
        await mark(store.database, session, self.probe, changed)
        return end is not None

    async def _runs(self, behind: datetime | None) -> tuple[list[Row], datetime | None]:
        """The next ones, and from which moment on there are more."""
        limit = self.rejudge.chunk_runs
        query: Row = {"probe": self.probe}
        if behind is not None:
            query["started_at"] = {"$gte": behind}
        while True:
            found = self.rejudge.store["runs"].find(query, session=self.session)
            ordered = found.sort([("started_at", 1), ("_id", 1)]).hint(RUNS_OF_A_PROBE)
            rows = await ordered.limit(limit + 1).to_list()
            if len(rows) <= limit:
                return rows, None
            # Runs of one moment stay together.
            end: datetime = rows[-1]["started_at"]
            whole = [row for row in rows if row["started_at"] < end]
            if whole:
                return whole, end
            limit *= 2

    async def _judge_runs(self, rows: Sequence[Row], standards: Standards) -> list[datetime]:
        """Corrects what is stored of *rows*, and them; when those that changed started."""
        fresh = await asyncio.to_thread(_judged_all, rows, standards)
        changes: list[UpdateOne] = []
        moments: list[datetime] = []
        for row, fields in zip(rows, fresh, strict=True):
            if any(row.get(name) != fields.get(name) for name in (*_JUDGED, *_GONE)):
                gone = {
                    name: "" for name in (*_JUDGED, *_GONE) if name in row and name not in fields
                }
                update: Row = {"$set": fields} | ({"$unset": gone} if gone else {})
                changes.append(UpdateOne({"_id": row["_id"], "probe": self.probe}, update))
                moments.append(row["started_at"])
                row.update(fields)
                for name in gone:
                    del row[name]
        if changes:
            runs = self.rejudge.store["runs"]
            await runs.bulk_write(changes, ordered=False, session=self.session)
        return moments

    async def _reconcile(
        self,
        work: Row,
        rows: Sequence[Row],
        end: datetime | None,
        standards: Standards,
        raw_since: datetime | None,
    ) -> dict[str, Tail]:
        """The breaches of this part of the line, and where the rules stand behind it."""
        now, store = self.rejudge.clock(), self.rejudge.store
        reconciler = Reconciler(
            store, self.session, self.probe, standards, now, _BECAUSE, raw_since,
            more_follows=end is not None,
        )  # fmt: skip
        rules = reconciler.rules
        if work["tails"] is None:
            tails = {
                key: await reconciler.tail_before(rule, work["behind"])
                for key, rule in rules.items()
            }
        else:
            tails = tails_of(work["tails"], rules)
        for key in rules:
            near = await reconciler.stored({"rule_key": key, **_touching(work["behind"], end)})
            standing = await reconciler.advance(key, tails[key], rows, near)
            running = tails[key].running
            for breach in near:
                goes_on = running is not None and breach.first_run == running.first.run_id
                if breach.id not in standing and not goes_on and _is_over(breach, end):
                    await reconciler.retract(breach)
        if end is None:
            others = {"rule_key": {"$nin": list(rules)}, **_touching(raw_since, None)}
            for breach in await reconciler.stored(others):
                await reconciler.retract(breach)
        await reconciler.announce()
        return tails

    def _done(
        self, document: Row, rows: Sequence[Row], tails: dict[str, Tail], version: list[int]
    ) -> Row:
        return {
            "judged_by": version,
            "tails": tail_rows(tails),
            "newest": later(document, rows) if rows else document.get("newest"),
        }


def _judged_all(rows: Sequence[Row], standards: Standards) -> list[Row]:
    return [judged(row, standards) for row in rows]


def _touching(behind: datetime | None, end: datetime | None) -> Row:
    """The query for breaches with a run in this part of the line."""
    query: Row = {}
    if behind is not None:
        query["last_run_at"] = {"$gte": behind}
    if end is not None:
        query["first_run_at"] = {"$lt": end}
    return query


def _is_over(breach: BreachDocument, end: datetime | None) -> bool:
    """Whether no later part of the line can claim *breach*."""
    return end is None or breach.last_run_at < end
