"""Takes runs out whose time is over, when an operator wants that; their hours stay for good.

In two steps, so that nothing is lost at any moment and nobody who is reading misses anything. First
a probe's boundary moves on: its rollups are up to date up to there, and one transaction says in the
probe's document and beside the rollups that what lies before is closed. Minutes later, the runs
before it go, some at a time, each remembered by its id. A crash at any point leaves the rest to the
next round.

The boundary is a midnight of the line's calendar. No breach reaches across it: one that is open, or
that began before and ended after, keeps all its runs, and so does whatever may still become one.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymongo.errors import PyMongoError

from speedtrap_graph.clock import Clock
from speedtrap_graph.rules.grid import HOUR_MS, Grid, Level
from speedtrap_graph.services.breaches.rejudge import is_current
from speedtrap_graph.services.history.rollups import END_MS, FIRST_MS, Rollups
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.services.probes.remove import Removal
from speedtrap_graph.services.upkeep.retention import RETENTION, note_sweep, retention
from speedtrap_graph.store import leases
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.past_runs import AT_ONCE, remove_past
from speedtrap_graph.store.probes import bump_probe
from speedtrap_graph.store.rollups import MARKS, STATES, milliseconds, moment_of

_log = logging.getLogger(__name__)

GRACE = timedelta(minutes=10)
"""Between the two steps. Whoever began to read before the first is done by then."""
_LEASE = "sweep"
_RENEW_S = leases.LEASE_MS / 3000


@dataclass
class Thinning:
    """Of several copies of the service one is at it."""

    store: Store
    clock: Clock
    every_s: float = 600.0
    holder: str = field(default_factory=lambda: secrets.token_hex(8))

    async def forever(self) -> None:
        while True:
            try:
                await self.round()
            except PyMongoError as error:
                _log.warning("taking old runs out waits for MongoDB: %s", type(error).__name__)
            await asyncio.sleep(self.every_s)

    async def round(self) -> None:
        """Nothing while another copy is at it."""
        if await self._claim() is None:
            return
        working = asyncio.create_task(self.once())
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=_RENEW_S)
                if not working.done() and await self._claim() is None:
                    _log.warning("another copy takes old runs out now")
                    return
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await leases.release(self.store[RETENTION], _LEASE, self.holder)

    async def _claim(self) -> Row | None:
        return await leases.claim(self.store[RETENTION], _LEASE, self.holder)

    async def once(self) -> None:
        """Both steps for every probe that they are due for; and whole probes that are to go."""
        await Removal(self.store, self.clock).finish_all()
        kept = (await retention(self.store)).kept
        concerned: list[Row] = [{"raw_since": {"$exists": True}}]
        if kept is not None:
            concerned.append({"first_run_at": {"$lt": self.clock() - kept}})
        rows = self.store["probes"].find({"$or": concerned}, {"_id": 1}).sort("_id", 1)
        for row in await rows.to_list():
            await self.remove(row["_id"])
            if kept is not None:
                await self.move_on(row["_id"], self.clock() - kept)
        await note_sweep(self.store, self.clock())

    async def remove(self, probe: str) -> int:
        """Whether or not more are to go: what is closed is closed. How many runs went."""
        document = await self.store["probes"].find_one({"_id": probe}) or {}
        raw_since, closed_at = document.get("raw_since"), document.get("raw_since_at")
        if raw_since is None or closed_at is None or closed_at > self.clock() - GRACE:
            return 0
        removed = 0
        while (some := await remove_past(self.store, probe, raw_since)) > 0:
            removed += some
            if some < AT_ONCE:
                break
        return removed

    async def move_on(self, probe: str, cutoff: datetime) -> bool:
        """Closes what lies before *cutoff* as far as it may be. Whether anything is closed now that
        was not before.
        """
        oldest = await self._oldest_kept(probe)
        if oldest is None or oldest >= cutoff:
            return False
        standards = await load_standards(self.store, probe)
        rollups = Rollups(self.store.database, probe, standards.pure_plans, standards.pure_rules)
        document = await self.store["probes"].find_one({"_id": probe}) or {}
        if await _Boundary(self.store, rollups.grid, document).before(cutoff) is None:
            return False
        await rollups.refresh()

        async def work(session: Session) -> bool:
            document = await bump_probe(self.store, session, probe)
            state = await self.store[STATES].find_one_and_update(
                {"_id": probe}, {"$inc": {"turn": 1}}, session=session
            )
            if not is_current(document, standards) or not rollups.is_mine(state or {}):
                return False
            boundary = await _Boundary(self.store, rollups.grid, document, session).before(cutoff)
            return boundary is not None and await self._close(probe, boundary, session)

        return await self.store.transaction(work)

    async def _close(self, probe: str, boundary: datetime, session: Session) -> bool:
        """False where a run came meanwhile that is not rolled up: then it is closed next time."""
        wanted: Row = {"probe": probe, "since": {"$lt": boundary}}
        if await self.store[MARKS].find_one(wanted, session=session):
            return False
        fields = {"raw_since": boundary, "raw_since_at": self.clock()}
        await self.store["probes"].update_one({"_id": probe}, {"$set": fields}, session=session)
        frozen = {"$set": {"frozen_before": boundary}}
        await self.store[STATES].update_one({"_id": probe}, frozen, session=session)
        return True

    async def _oldest_kept(self, probe: str) -> datetime | None:
        document = await self.store["probes"].find_one({"_id": probe}) or {}
        wanted: Row = {"probe": probe}
        if "raw_since" in document:
            wanted["started_at"] = {"$gte": document["raw_since"]}
        row = await self.store["runs"].find_one(wanted, {"started_at": 1}, sort=[("started_at", 1)])
        return None if row is None else row["started_at"]


@dataclass(frozen=True)
class _Boundary:
    """Of the probe with *document*, by the calendar of *grid*."""

    store: Store
    grid: Grid
    document: Row
    session: Session | None = None

    async def before(self, cutoff: datetime) -> datetime | None:
        """The last midnight before *cutoff* that no breach reaches across, nor anything that may
        become one. None where that is no later than the one there is.
        """
        known = self.document.get("raw_since") or moment_of(FIRST_MS)
        boundary = self._midnight(min(cutoff, *_still_needed(self.document)))
        while boundary > known:
            breach = await self._across(boundary)
            if breach is None:
                return boundary
            boundary = self._midnight(breach["first_run_at"])
        return None

    def _midnight(self, moment: datetime) -> datetime:
        """The last one, not after a day whose last hour is short: that bucket would be in the way
        of another calendar's.
        """
        day = self.grid.floor(Level.DAY, max(milliseconds(moment), FIRST_MS))
        while day > FIRST_MS and day - self.grid.floor(Level.HOUR, day - 1) != HOUR_MS:
            day = self.grid.floor(Level.DAY, day - 1)
        return moment_of(max(day, FIRST_MS))

    async def _across(self, moment: datetime) -> Row | None:
        """The first breach that began before *moment* and is not over by then."""
        ends_later: list[Row] = [
            {"status": "OPEN"},
            {"last_run_at": {"$gte": moment}},
            {"resolved_at": {"$gte": moment}},
        ]
        wanted: Row = {
            "probe": self.document["_id"],
            "status": {"$ne": "RETRACTED"},
            "first_run_at": {"$lt": moment},
            "$or": ends_later,
        }
        return await self.store["breaches"].find_one(
            wanted, sort=[("first_run_at", 1)], session=self.session
        )


def _still_needed(document: Row) -> Iterator[datetime]:
    """The newest run, which a page shows; the runs that may be part of a breach yet."""
    yield moment_of(END_MS if "tails" in document else FIRST_MS)
    if document.get("newest"):
        yield document["newest"]["at"]
    for tail in document.get("tails", ()):
        for bad in tail["recent"]:
            if bad is not None:
                yield bad[0]
        if "running" in tail:
            yield tail["running"]["first"][0]
