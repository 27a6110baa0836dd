"""Before it is used, a database is prepared: by one process at a time, never by older code."""

import asyncio

import pytest
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.migrations import SCHEMA, SCHEMA_VERSION, NewerDatabaseError

from tests.lab.mongo import Mongod


async def test_three_starts_at_once_prepare_a_new_database(
    mongod: Mongod, database_name: str
) -> None:
    stores = [connect(mongod.uri, database_name) for _ in range(3)]
    try:
        await asyncio.gather(*(prepare(store) for store in stores))
        version = await stores[0][SCHEMA].find_one({"_id": "schema"})
        assert version == {"_id": "schema", "version": SCHEMA_VERSION}
        lock = await stores[0][SCHEMA].find_one({"_id": "lock"})
        assert lock == {"_id": "lock"}
    finally:
        for store in stores:
            await store.close()


async def test_a_newer_database_is_refused_in_words(store: Store) -> None:
    newer = {"$set": {"version": SCHEMA_VERSION + 1}}
    await store[SCHEMA].update_one({"_id": "schema"}, newer)
    for use in (prepare(store), store.ping()):
        with pytest.raises(NewerDatabaseError, match=f"knows versions up to {SCHEMA_VERSION}"):
            await use


async def test_breaches_of_version_1_get_their_rules_key(store: Store) -> None:
    await store[SCHEMA].delete_one({"_id": "schema"})
    await store["breaches"].insert_one({"_id": "old", "metric": "DOWNLOAD"})
    await prepare(store)
    assert await store["breaches"].find_one() == {
        "_id": "old",
        "metric": "DOWNLOAD",
        "rule_key": "DOWNLOAD",
    }
