"""The breach events: numbered inside the transaction that made them, so without holes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from speedtrap_graph.store.database import Row, Session, Store

COUNTER = "events"
GONE = "GONE"
EMPTIED: Row = {"kind": GONE, "breach": "", "probe": ""}
"""What is left of an event about a probe that was deleted: its number."""
_LINEARIZABLE = ReadConcern("linearizable")
_LONGEST_MS = 5000
"""A linearizable read waits for a majority, however long there is none."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    kind: str
    breach: str
    probe: str


async def append_events(
    store: Store, session: Session, pending: Sequence[PendingEvent], now: datetime
) -> None:
    """Only transactions with news touch the counter, which puts them in one order."""
    if not pending:
        return
    counter = await store["counters"].find_one_and_update(
        {"_id": COUNTER}, {"$inc": {"seq": len(pending)}}, return_document=True, session=session
    )
    if counter is None:
        raise OperationFailure("the counter of the events has vanished")
    first = counter["seq"] - len(pending) + 1
    rows: list[Row] = [
        {
            "_id": first + place,
            "kind": event.kind,
            "breach": event.breach,
            "probe": event.probe,
            "at": now,
        }
        for place, event in enumerate(pending)
    ]
    await store["events"].insert_many(rows, session=session)


async def last_seq(store: Store) -> int:
    """The newest number that no failover can take back, and none older: a local read may see what
    is rolled back, and a majority read on a new primary less than a client has already seen.
    """
    counters = store["counters"].with_options(read_concern=_LINEARIZABLE)
    counter = await counters.find_one({"_id": COUNTER}, max_time_ms=_LONGEST_MS)
    return int(counter["seq"]) if counter else 0


async def events_after(store: Store, seq: int, limit: int) -> list[Row]:
    """In order, at most *limit*; only what no failover can take back."""
    events = store["events"].with_options(read_concern=ReadConcern("majority"))
    found = events.find({"_id": {"$gt": seq}}).sort("_id", 1).limit(limit)
    return await found.to_list()
