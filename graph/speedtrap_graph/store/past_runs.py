"""What is left of runs whose time is over: their ids, so that none is ever counted twice."""

from datetime import datetime
from uuid import UUID

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from speedtrap_graph.store.database import Row, Session, Store

PAST_RUNS = "past_runs"
AT_ONCE = 500
_DUPLICATE_KEY = 11000


async def remove_past(store: Store, probe: str, before: datetime) -> int:
    """Some of the runs of *probe* that started before then; how many. Each is remembered before it
    goes, so that a crash in between leaves it for the next time.
    """
    wanted: Row = {"probe": probe, "started_at": {"$lt": before}}
    rows = await store["runs"].find(wanted, {"started_at": 1}).limit(AT_ONCE).to_list()
    if not rows:
        return 0
    remembered = [
        UpdateOne(
            {"_id": row["_id"], "probe": probe},
            {"$setOnInsert": {"started_at": row["started_at"]}},
            upsert=True,
        )
        for row in rows
    ]
    try:
        await store[PAST_RUNS].bulk_write(remembered, ordered=False)
    except BulkWriteError as error:
        problems = (error.details or {}).get("writeErrors", [])
        # An id that another probe used before, for a run that is gone: it is remembered there.
        if any(problem.get("code") != _DUPLICATE_KEY for problem in problems):
            raise
    gone = {"probe": probe, "_id": {"$in": [row["_id"] for row in rows]}}
    await store["runs"].delete_many(gone)
    return len(rows)


async def past_run(store: Store, run_id: UUID, session: Session | None = None) -> Row | None:
    return await store[PAST_RUNS].find_one({"_id": run_id}, session=session)
