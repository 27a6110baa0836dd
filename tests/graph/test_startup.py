"""Before it is used, a database is prepared: by one process at a time, never by older code."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from speedtrap_graph.clock import system_clock
from speedtrap_graph.rules.model import Rule
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.migrations import SCHEMA, SCHEMA_VERSION, STEPS, NewerDatabaseError
from speedtrap_graph.store.rollups import STATES

from tests.graph.rules.builders import a_plan
from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import a_run


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


async def test_runs_that_version_3_judged_are_judged_and_rolled_up_again(store: Store) -> None:
    """By one rule only, it called a run doubted; its buckets counted it as below the other."""
    plans = Plans(store, system_clock)
    await plans.set_plan(None, a_plan(100))
    await plans.set_rule(None, Rule(below_ratio=0.9, name="strict"))
    run = a_run(60.0, conditions={"lineUp": True, "crossTrafficMbps": 35.0})
    await Ingest(store, system_clock).submit([run], None)
    old = {"$set": {"doubted": True}, "$unset": {"limits": "", "doubtful": ""}}
    await store["runs"].update_one({}, old)
    await store[STATES].insert_one({"_id": "laptop", "turn": 1, "standard": []})
    await store[SCHEMA].update_one({"_id": "schema"}, {"$set": {"version": 3}})
    await prepare(store)
    await Rejudge(store, system_clock).sweep()
    found = await store["runs"].find_one() or {}
    assert (found["limits"]["DOWNLOAD"], found.get("doubted")) == (0.0, None)
    assert "standard" not in (await store[STATES].find_one() or {})


async def test_a_lock_whose_holder_died_is_taken_over_when_its_time_is_up(store: Store) -> None:
    until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": 400}}
    held = [{"$set": {"holder": "somebody who was killed", "until": until}}]
    await store[SCHEMA].update_one({"_id": "lock"}, held, upsert=True)
    await prepare(store)
    lock = await store[SCHEMA].find_one({"_id": "lock"})
    assert lock == {"_id": "lock"}


async def test_a_step_that_was_killed_half_way_is_done_again(store: Store) -> None:
    await store[SCHEMA].delete_one({"_id": "schema"})
    await store["breaches"].insert_many(
        [
            {"_id": "done", "metric": "UPLOAD", "rule_key": "UPLOAD/own"},
            {"_id": "not", "metric": "JITTER"},
        ]
    )
    await asyncio.gather(prepare(store), prepare(store))
    found = {row["_id"]: row["rule_key"] async for row in store["breaches"].find()}
    assert found == {"done": "UPLOAD/own", "not": "JITTER"}


async def test_older_stops_and_limits_hold_for_every_spelling_after_an_update(
    mongod: Mongod,
) -> None:
    with fresh_database(mongod) as name:
        async with AsyncMongoClient[dict[str, Any]](mongod.uri) as client:
            database = client[name]
            at = datetime(2026, 3, 2, tzinfo=UTC)
            old = "help <support@isp.example>"
            await database[SCHEMA].insert_one({"_id": "schema", "version": 4})
            await database["stops"].insert_one({"_id": old, "recipient": old, "at": at})
            await database["recipients"].insert_one({"_id": old, "seq": 3, "counted": [at]})
            await database["notices"].insert_one({"recipient": old, "recipient_key": old})
            for _ in range(2):
                await STEPS[5](database)
            key = "support@isp.example"
            assert [row["_id"] for row in await database["stops"].find().to_list()] == [key]
            (known,) = await database["recipients"].find().to_list()
            assert (known["_id"], len(known["counted"])) == (key, 1)
            assert (await database["notices"].find().to_list())[0]["recipient_key"] == key
