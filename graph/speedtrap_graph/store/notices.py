"""The ledger's moves on notices. Leases run by the database's clock, the only shared one."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from speedtrap_graph.store.database import Row, Session, Store

_MILLISECOND = timedelta(milliseconds=1)
_LEASE_IS_OVER: Row = {"$expr": {"$lte": ["$lease_until", "$$NOW"]}}
_LEASE_HOLDS: Row = {"$expr": {"$gt": ["$lease_until", "$$NOW"]}}


def step(at: datetime, by: str, status: str, why: str | None) -> Row:
    """One entry of a notice's record."""
    return {"at": at, "by": by, "status": str(status), "why": why}


async def next_candidate(
    store: Store,
    channel: str | None,
    now: datetime,
    tried: Sequence[str],
    key: str | None = None,
    session: Session | None = None,
) -> Row | None:
    """The longest due notice, or the one with *key* if it may still be claimed."""
    ready: Row = {
        "$or": [
            {"status": {"$in": ["DUE", "APPROVED"]}, "due_at": {"$lte": now}},
            {"status": "CLAIMED", **_LEASE_IS_OVER},
        ]
    }
    if channel is not None:
        ready["channel"] = channel
    ready["_id"] = {"$nin": list(tried)} if key is None else key
    return await store["notices"].find_one(ready, sort=[("due_at", 1), ("_id", 1)], session=session)


async def next_check(store: Store, channel: str, now: datetime) -> Row | None:
    """The longest waiting notice of unknown outcome that may be looked up now."""
    wanted: Row = {
        "channel": channel,
        "$or": [
            {"status": "UNKNOWN", "check_at": {"$lte": now}},
            {"status": "CHECKING", **_LEASE_IS_OVER},
        ],
    }
    return await store["notices"].find_one(wanted, sort=[("check_at", 1), ("_id", 1)])


async def find_leased(store: Store, key: str, fence: int, session: Session) -> Row | None:
    wanted = {"_id": key, "fence": fence, "status": "CLAIMED", **_LEASE_HOLDS}
    return await store["notices"].find_one(wanted, session=session)


async def claim_lease(
    store: Store,
    row: Row,
    entry: Row,
    *,
    lease: timedelta,
    counted: bool = False,
    session: Session | None = None,
    worker: str | None = None,
) -> Row | None:
    """Moves on to the step's status with a new lease; a *worker* takes a new fence as well."""
    fields: Row = {
        "status": entry["status"],
        "lease_until": {"$add": ["$$NOW", lease // _MILLISECOND]},
        "steps": {"$concatArrays": ["$steps", {"$literal": [entry]}]},
    }
    if worker is None:
        fields["attempts"] = {"$add": ["$attempts", 1]}
    else:
        fields |= {"worker": {"$literal": worker}, "fence": {"$add": ["$fence", 1]}}
    if counted:
        fields["counted_at"] = entry["at"]
    return await store["notices"].find_one_and_update(
        {"_id": row["_id"], "fence": row["fence"], "status": row["status"]},
        [{"$set": fields}],
        return_document=True,
        session=session,
    )


async def advance(store: Store, row: Row, fields: Row, entry: Row | None, session: Session) -> None:
    """Sets *fields* and puts *entry* on record."""
    update: Row = {"$set": fields}
    if entry is not None:
        update["$push"] = {"steps": entry}
    await store["notices"].update_one({"_id": row["_id"]}, update, session=session)


async def expire_sendings(store: Store, now: datetime, unknown: Row) -> None:
    """A sending whose worker fell silent may have arrived: it is never repeated blindly."""
    why = "the worker fell silent while sending: it may have arrived"
    entry = step(now, "ledger", "UNKNOWN", why)
    await store["notices"].update_many(
        {"status": "SENDING", **_LEASE_IS_OVER},
        {"$set": {"status": "UNKNOWN", **unknown}, "$push": {"steps": entry}},
    )


async def mark_told(store: Store, digest: Row, by: str | None, session: Session) -> None:
    """An episode is told in one digest only; None: in none after all."""
    told = {
        "channel": digest["channel"],
        "recipient": digest["recipient"],
        "stage": {"$in": ["OPENING", "RECOVERY"]},
        "status": {"$in": ["PLANNED", "APPROVED", "DUE", "SUPPRESSED"]},  # nobody has read it
        "breach": {"$in": digest["covers"]},
    }
    await store["notices"].update_many(told, {"$set": {"digest_notice": by}}, session=session)
