"""Brings a database to the shape that this code knows: by one process at a time, in steps that may
be repeated. The version is kept in the database, and code that is older than it stays away.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from speedtrap_graph.rules.recipients import recipient_key

Row = dict[str, Any]
Database = AsyncDatabase[Row]

SCHEMA = "schema"
RESTORING = "restoring"
"""There while a restore puts its collections in the place of those that were."""
SCHEMA_VERSION = 5
"""Of the documents, as the last of `STEPS` leaves them."""
LEASE_MS = 60_000
_RENEW_S = 15.0
_WAIT_S = 0.1

Step = Callable[[Database], Awaitable[None]]


async def _key_breaches_by_rule(database: Database) -> None:
    """Version 2: a metric may have several rules, so a breach says whose it is."""
    old = {"rule_key": {"$exists": False}}
    await database["breaches"].update_many(old, [{"$set": {"rule_key": "$metric"}}])
    await database["breaches"].update_many({"rule_key": ""}, [{"$set": {"rule_key": "$metric"}}])
    gone = "probe_1_metric_1_first_run_at_1"
    if gone in await database["breaches"].index_information():
        await database["breaches"].drop_index(gone)


async def _roll_up_for_good(_: Database) -> None:
    """Version 3: hours may be all that is left of their runs. Nothing is to be done for that, but
    code that does not know it would compute them anew from nothing.
    """


async def _judge_again(database: Database) -> None:
    """Version 4: unfair conditions are weighed against each rule's own bound, and bounds are
    decimals. Every probe falls behind by this, so its runs are judged and rolled up again.
    """
    await database["rollup_states"].update_many({}, {"$unset": {"standard": ""}})
    await database["standard_versions"].update_one({"_id": "*"}, {"$inc": {"seq": 1}}, upsert=True)


async def _one_key_a_recipient(database: Database) -> None:
    """Version 5: STOP and the limits hold for a recipient, however the address is spelled."""
    for written in await database["notices"].distinct("recipient"):
        key = recipient_key(written)
        other = {"recipient": written, "recipient_key": {"$ne": key}}
        await database["notices"].update_many(other, {"$set": {"recipient_key": key}})
    for row in await database["stops"].find().to_list():
        if (key := recipient_key(row["_id"])) != row["_id"]:
            kept = {"$setOnInsert": {name: row[name] for name in row if name != "_id"}}
            await database["stops"].update_one({"_id": key}, kept, upsert=True)
            await database["stops"].delete_one({"_id": row["_id"]})
    for row in await database["recipients"].find().to_list():
        if (key := recipient_key(row["_id"])) != row["_id"]:
            joined = {"$addToSet": {"counted": {"$each": row.get("counted", [])}}}
            await database["recipients"].update_one(
                {"_id": key}, {**joined, "$inc": {"seq": 1}}, upsert=True
            )
            await database["recipients"].delete_one({"_id": row["_id"]})


STEPS: Mapping[int, Step] = {
    2: _key_breaches_by_rule,
    3: _roll_up_for_good,
    4: _judge_again,
    5: _one_key_a_recipient,
}
"""What leads to each version from the one before. Version 1 had none on record."""


class NewerDatabaseError(ConnectionError):
    """The database belongs to later code, which knows things that this one would destroy."""


class HalfRestoredError(ConnectionError):
    """Some of its collections are of before a restore and some of after it."""


async def check_version(database: Database) -> None:
    """Raises NewerDatabaseError or HalfRestoredError unless this code may use the database."""
    found = database[SCHEMA].find({"_id": {"$in": ["schema", RESTORING]}})
    rows = {row["_id"]: row async for row in found}
    if RESTORING in rows:
        raise HalfRestoredError(
            f"the database {database.name!r} is being restored, or a restore of it was "
            "interrupted: wait for it, or run `speedtrap restore` again, with that backup or "
            "another"
        )
    row = rows.get("schema")
    if row is not None and row.get("version", 1) > SCHEMA_VERSION:
        raise NewerDatabaseError(
            f"the database {database.name!r} is of version {row['version']} and this "
            f"speedtrap-graph knows versions up to {SCHEMA_VERSION}; nothing was changed: use the "
            "newer speedtrap, or another database (SPEEDTRAP_GRAPH_DATABASE; with `speedtrap up` "
            "another --data-dir)"
        )


async def migrate(database: Database) -> None:
    """Under the lock."""
    await check_version(database)
    row = await database[SCHEMA].find_one({"_id": "schema"})
    version = int(row["version"]) if row and "version" in row else 1
    for reached in range(version + 1, SCHEMA_VERSION + 1):
        await STEPS[reached](database)
        # One by one, so that whoever is killed here leaves the rest to the next.
        await database[SCHEMA].update_one(
            {"_id": "schema"}, {"$set": {"version": reached}}, upsert=True
        )


@contextlib.asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Waits until no other process prepares the database. A lease, by the database's clock: who
    dies while holding it is in the way for a minute.
    """
    holder = secrets.token_hex(8)
    while not await _claim(database, holder):  # noqa: ASYNC110 - another process has it, not a task
        await asyncio.sleep(_WAIT_S)
    renewing = asyncio.create_task(_renew(database, holder))
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        mine = {"_id": "lock", "holder": holder}
        await database[SCHEMA].update_one(mine, {"$unset": {"holder": "", "until": ""}})


async def _claim(database: Database, holder: str) -> bool:
    # An upsert's predicate takes no $expr: decide in the update, and look who has it then.
    is_free = {"$lte": [{"$ifNull": ["$until", "$$NOW"]}, "$$NOW"]}
    mine = {"$eq": ["$holder", holder]}
    taken: Row = {
        "holder": holder,
        "until": {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": LEASE_MS}},
    }
    update = [
        {
            "$replaceWith": {
                "$cond": [{"$or": [is_free, mine]}, {"$mergeObjects": ["$$ROOT", taken]}, "$$ROOT"]
            }
        }
    ]
    try:
        row = await database[SCHEMA].find_one_and_update(
            {"_id": "lock"}, update, upsert=True, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:
        # Two first starts at once: the other made the document.
        return False
    return bool(row and row.get("holder") == holder)


async def _renew(database: Database, holder: str) -> None:
    while True:
        await asyncio.sleep(_RENEW_S)
        await _claim(database, holder)
