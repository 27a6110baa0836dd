"""Deleting a run: rare, by an admin, with a reason, and never without a trace.

What stays is a tombstone under the run's id. It says who deleted it, when and why, and it is what
keeps the run from coming back when a probe submits it again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError, NotFoundError
from speedtrap_graph.services.breaches.reconcile import Reconciler
from speedtrap_graph.services.breaches.rejudge import is_current, set_back
from speedtrap_graph.services.history.rollups import mark
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.past_runs import past_run
from speedtrap_graph.store.probes import TOMBSTONES, bump_probe
from speedtrap_graph.timestamps import format_moment

MOST_TOMBSTONES = 500
LONGEST_REASON = 1000


@dataclass(frozen=True)
class DeletedRun:
    """What is left of a run."""

    id: UUID
    probe: str
    started_at: datetime
    deleted_at: datetime
    by: str
    reason: str

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            row["_id"],
            row["probe"],
            row["started_at"],
            row["deleted_at"],
            row["by"],
            row["reason"],
        )


@dataclass(frozen=True)
class Deletion:
    store: Store
    clock: Clock

    async def delete(self, run_id: UUID, reason: str, by: str) -> DeletedRun:
        """Deletes a run and judges its probe's breaches again. Of a deleted run, its tombstone."""
        if not 1 <= len(reason.strip()) <= LONGEST_REASON:
            raise BadInputError(
                f"reason must have 1 to {LONGEST_REASON} characters", field="reason"
            )

        async def work(session: Session) -> Row:
            buried = await self.store[TOMBSTONES].find_one({"_id": run_id}, session=session)
            if buried is not None:
                return buried
            wanted = {"_id": run_id}
            kept = {"probe": 1, "started_at": 1}
            run = await self.store["runs"].find_one(wanted, kept, session=session)
            if run is None:
                await self._check_past(await past_run(self.store, run_id, session))
                raise NotFoundError(f"there is no run {run_id}", field="id")
            return await self._bury(run, reason.strip(), by, session)

        return DeletedRun.of(await self.store.transaction(work))

    async def _bury(self, run: Row, reason: str, by: str, session: Session) -> Row:
        probe, now = run["probe"], self.clock()
        document = await bump_probe(self.store, session, probe)
        raw_since = document.get("raw_since")
        if raw_since is not None and run["started_at"] < raw_since:
            await self._check_past(run)
        tombstone: Row = {**run, "deleted_at": now, "by": by, "reason": reason}
        await self.store[TOMBSTONES].insert_one(tombstone, session=session)
        await self._take_out(run, document, "a run of it was deleted", session)
        return tombstone

    async def make_way(self, run_id: UUID, moved_to: datetime) -> None:
        """Takes a run out that comes again at once, at another time; one whose old or new time is
        rolled up stays."""

        async def work(session: Session) -> None:
            wanted, kept = {"_id": run_id}, {"probe": 1, "started_at": 1}
            run = await self.store["runs"].find_one(wanted, kept, session=session)
            if run is None:
                return
            document = await bump_probe(self.store, session, run["probe"])
            raw_since = document.get("raw_since")
            if raw_since is None or min(run["started_at"], moved_to) >= raw_since:
                await self._take_out(run, document, "a run of it was moved in time", session)

        await self.store.transaction(work)

    async def _take_out(self, run: Row, document: Row, because: str, session: Session) -> None:
        probe, now, raw_since = run["probe"], self.clock(), document.get("raw_since")
        known = {"_id": run["_id"], "probe": probe}
        await self.store["runs"].delete_one(known, session=session)
        await mark(self.store.database, session, probe, [run["started_at"]])
        standards = await load_standards(self.store, probe, session)
        if is_current(document, standards):
            reconciler = Reconciler(self.store, session, probe, standards, now, because, raw_since)
            judged = await reconciler.around(document, [(run["started_at"], run["_id"])])
        else:
            judged = set_back(document, run["started_at"])
        await self._count(document, judged, session)

    async def _check_past(self, run: Row | None) -> None:
        """A run whose time is over is in the rolled-up hours, and cannot be taken out of them."""
        if run is not None:
            raise NotFoundError(
                f"run {run['_id']} of {run['probe']!r} started at "
                f"{format_moment(run['started_at'])} and is no longer kept: it was rolled up into "
                "its hour for good, as `retention` says",
                field="id",
            )

    async def _count(self, document: Row, judged: Row, session: Session) -> None:
        probe, first = document["_id"], document.get("first_run_at")
        raw_since = document.get("raw_since")
        oldest = await self.store["runs"].find_one(
            {"probe": probe}, {"started_at": 1}, sort=[("started_at", 1)], session=session
        )
        update: Row = {
            "$inc": {"run_count": -1},
            "$set": {**judged},
        }
        if raw_since is not None and first is not None and first < raw_since:
            pass  # the first run is among those that were rolled up
        elif oldest is None:
            update["$unset"] = {"first_run_at": ""}
        else:
            update["$set"]["first_run_at"] = oldest["started_at"]
        await self.store["probes"].update_one({"_id": probe}, update, session=session)

    async def tombstone(self, run_id: UUID) -> DeletedRun | None:
        row = await self.store[TOMBSTONES].find_one({"_id": run_id})
        return None if row is None else DeletedRun.of(row)

    async def tombstones(self, first: int) -> list[DeletedRun]:
        """The last deleted first."""
        if not 1 <= first <= MOST_TOMBSTONES:
            raise BadInputError(f"first must be 1 to {MOST_TOMBSTONES}, not {first}", field="first")
        rows = self.store[TOMBSTONES].find({}, sort=[("deleted_at", -1), ("_id", -1)], limit=first)
        return [DeletedRun.of(row) async for row in rows]
