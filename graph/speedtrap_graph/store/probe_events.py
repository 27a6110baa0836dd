"""That probes fall silent and come back: numbered by themselves, as the breaches' events are."""

from datetime import datetime

from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PROBE_EVENTS


async def append_probe_event(
    store: Store, session: Session, kind: str, probe: str, since: datetime, now: datetime
) -> None:
    """*since* is from when on the probe has been, or had been, silent."""
    counter = await store["counters"].find_one_and_update(
        {"_id": PROBE_EVENTS}, {"$inc": {"seq": 1}}, return_document=True, session=session
    )
    if counter is None:
        raise OperationFailure("the counter of the probes' events has vanished")
    row: Row = {"_id": counter["seq"], "kind": str(kind), "probe": probe, "since": since, "at": now}
    await store[PROBE_EVENTS].insert_one(row, session=session)


async def last_probe_event(store: Store) -> int:
    counter = await store["counters"].find_one({"_id": PROBE_EVENTS})
    return int(counter["seq"]) if counter else 0


async def probe_events_after(store: Store, seq: int, limit: int) -> list[Row]:
    """In order; only what no failover can take back."""
    events = store[PROBE_EVENTS].with_options(read_concern=ReadConcern("majority"))
    return await events.find({"_id": {"$gt": seq}}).sort("_id", 1).limit(limit).to_list()


async def newest_probe_events(
    store: Store, probe: str | None, limit: int, before: int | None
) -> list[Row]:
    wanted: Row = {} if probe is None else {"probe": probe}
    if before is not None:
        wanted["_id"] = {"$lt": before}
    return await store[PROBE_EVENTS].find(wanted).sort("_id", -1).limit(limit).to_list()
