"""Takes a probe out with all that is known of it, and leaves who did it, when, why and how much.

What it begins is on record first, in the transaction that shuts the probe's door and withdraws what
was to be sent about it. The rest goes some documents at a time, each batch together with its count;
so whoever is killed leaves it to the next, and the counts are right. Breach events are emptied and
keep their numbers, as whoever follows them is promised that none is missing.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import uuid4

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError, NotFoundError
from speedtrap_graph.rules.permission import WAITING, NoticeStatus
from speedtrap_graph.store import rollups
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PROBE_EVENTS
from speedtrap_graph.store.events import EMPTIED
from speedtrap_graph.store.notices import step
from speedtrap_graph.store.past_runs import PAST_RUNS
from speedtrap_graph.store.probes import LEAVING, TOMBSTONES, VERSIONS
from speedtrap_graph.store.shards import RUN_IDS

_log = logging.getLogger(__name__)

DELETED_PROBES = "deleted_probes"
LONGEST_REASON = 1000
MOST_TRACES = 500
AT_ONCE = 500
_NOT_SENT = sorted({*WAITING, NoticeStatus.CLAIMED})


def _by_probe(probe: str) -> Row:
    return {"probe": probe}


def _by_id(probe: str) -> Row:
    return {"_id": probe}


OWN: Mapping[str, Callable[[str], Row]] = {
    "notices": _by_probe,
    "events": _by_probe,
    "breaches": _by_probe,
    "runs": _by_probe,
    PAST_RUNS: _by_probe,
    TOMBSTONES: _by_probe,
    RUN_IDS: _by_probe,
    rollups.MARKS: _by_probe,
    rollups.STATES: _by_id,
    rollups.ROLLUPS: rollups.all_of,
    PROBE_EVENTS: _by_probe,
    "silences": _by_id,
    "plans": _by_probe,
    "rules": _by_probe,
    VERSIONS: _by_id,
    "probes": _by_id,
}
"""What is a probe's, in the order in which it goes: what is made of others before those could be
made again, the probe's document last.
"""


@dataclass(frozen=True)
class DeletedProbe:
    """What is left of a probe. `done_at` is None while some of it is still there; `counts` has the
    documents that went, by collection.
    """

    id: str
    name: str
    by: str
    reason: str
    at: datetime
    done_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            row["_id"],
            row["probe"],
            row["by"],
            row["reason"],
            row["at"],
            row.get("done_at"),
            row.get("counts", {}),
        )


@dataclass(frozen=True)
class Removal:
    store: Store
    clock: Clock

    async def begin(self, probe: str, reason: str, by: str) -> DeletedProbe:
        """Shuts the door. Of a removal that is under way already, that one."""
        why = reason.strip()
        if not 1 <= len(why) <= LONGEST_REASON:
            raise BadInputError(
                f"reason must have 1 to {LONGEST_REASON} characters", field="reason"
            )

        async def work(session: Session) -> Row:
            traces = self.store[DELETED_PROBES]
            pending = await traces.find_one({"probe": probe, "done_at": None}, session=session)
            if pending is not None:
                return pending
            await self._check_known(probe, session)
            trace: Row = {
                "_id": uuid4().hex,
                "probe": probe,
                "by": by,
                "reason": why,
                "at": self.clock(),
                "done_at": None,
                "counts": {},
            }
            await traces.insert_one(trace, session=session)
            shut = {"$set": {LEAVING: True}, "$inc": {"seq": 1}}
            await self.store["probes"].update_one({"_id": probe}, shut, session=session)
            await self._withdraw(probe, f"the probe was deleted: {why}", session)
            return trace

        return DeletedProbe.of(await self.store.transaction(work))

    async def finish(
        self, removal: DeletedProbe, until: Callable[[], bool] = lambda: False
    ) -> DeletedProbe:
        """Takes out what is there, until nothing is, or *until* says to leave it to another."""
        while removal.done_at is None and not until():
            for collection, wanted in OWN.items():
                while not until() and await self._some(removal, collection, wanted(removal.name)):
                    pass
            if not until() and not await self._anything(removal.name):
                done = {"$set": {"done_at": self.clock()}}
                await self.store[DELETED_PROBES].update_one({"_id": removal.id}, done)
            removal = await self._trace(removal.id)
        return removal

    async def finish_all(self) -> None:
        """Those that somebody began and did not end."""
        async for row in self.store[DELETED_PROBES].find({"done_at": None}):
            about = {"probe": row["probe"]}
            _log.info("going on with the deletion of probe %s", row["probe"], extra=about)
            await self.finish(DeletedProbe.of(row))

    async def traces(self, first: int) -> list[DeletedProbe]:
        """The last deleted first."""
        if not 1 <= first <= MOST_TRACES:
            raise BadInputError(f"first must be 1 to {MOST_TRACES}, not {first}", field="first")
        newest = [("at", -1), ("_id", -1)]
        rows = self.store[DELETED_PROBES].find({}, sort=newest, limit=first)
        return [DeletedProbe.of(row) async for row in rows]

    async def _trace(self, key: str) -> DeletedProbe:
        row = await self.store[DELETED_PROBES].find_one({"_id": key})
        if row is None:
            raise NotFoundError("the record of this deletion is gone", field="name")
        return DeletedProbe.of(row)

    async def _check_known(self, probe: str, session: Session) -> None:
        """A probe may have plans and rules before its first run."""
        for collection in ("probes", "plans", "rules", "silences"):
            wanted = OWN[collection](probe)
            if await self.store[collection].find_one(wanted, {"_id": 1}, session=session):
                return
        raise NotFoundError(f"there is no probe {probe[:64]!r}", field="name")

    async def _anything(self, probe: str) -> bool:
        for collection, wanted in OWN.items():
            if await self.store[collection].find_one(wanted(probe), {"_id": 1}):
                return True
        return False

    async def _withdraw(self, probe: str, why: str, session: Session) -> None:
        """Also other probes' digests that tell of this one; what else they told is due again."""
        rows = self.store["breaches"].find({"probe": probe}, {"_id": 1}, session=session)
        breaches = [row["_id"] async for row in rows]
        told: Row = {"$or": [{"probe": probe}, {"covers": {"$in": breaches}}]}
        wanted: Row = {**told, "status": {"$in": _NOT_SENT}}
        notices = self.store["notices"]
        withdrawn = [row["_id"] async for row in notices.find(wanted, {"_id": 1}, session=session)]
        entry = step(self.clock(), "ledger", NoticeStatus.SUPPRESSED, why)
        fields = {"status": NoticeStatus.SUPPRESSED.value, "counted_at": None, "due_at": None}
        await notices.update_many(
            {"_id": {"$in": withdrawn}},
            {"$set": fields, "$push": {"steps": entry}},
            session=session,
        )
        await notices.update_many(
            {"digest_notice": {"$in": withdrawn}, "probe": {"$ne": probe}},
            {"$set": {"digest_notice": None}},
            session=session,
        )

    async def _some(self, removal: DeletedProbe, collection: str, wanted: Row) -> int:
        """A batch, and its count beside the others. How many went."""

        async def work(session: Session) -> int:
            found = self.store[collection].find(wanted, _KEPT, session=session).limit(AT_ONCE)
            rows = await found.to_list()
            if not rows:
                return 0
            if collection == "notices":
                await self._keep_counting(rows, session)
            batch: Row = {**_routed(wanted), "_id": {"$in": [row["_id"] for row in rows]}}
            if collection == "events":
                await self.store[collection].update_many(batch, {"$set": EMPTIED}, session=session)
            else:
                await self.store[collection].delete_many(batch, session=session)
            await self.store[DELETED_PROBES].update_one(
                {"_id": removal.id}, {"$inc": {f"counts.{collection}": len(rows)}}, session=session
            )
            return len(rows)

        return await self.store.transaction(work)

    async def _keep_counting(self, notices: list[Row], session: Session) -> None:
        """What went to a recipient still counts for the limits that protect them."""
        for notice in notices:
            if notice.get("counted_at") is not None and notice.get("recipient_key"):
                await self.store["recipients"].update_one(
                    {"_id": notice["recipient_key"]},
                    {"$push": {"counted": notice["counted_at"]}, "$inc": {"seq": 1}},
                    upsert=True,
                    session=session,
                )


_KEPT = {"counted_at": 1, "recipient_key": 1}


def _routed(wanted: Row) -> Row:
    """What of *wanted* leads to the probe's shard."""
    return {name: value for name, value in wanted.items() if name == "probe"}
