"""How collections lie on a cluster's shards. No mongos can be had for these tests: what is asked of
one is tested as far as a shard itself can tell.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.shards import RUN_IDS, SHARD_KEYS, ShardingError, lay_out, write_ids_down

from tests.lab.mongo import Mongod
from tests.lab.runs import a_run


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    store = connect(mongo_uri, database_name)
    await prepare(store)
    yield store
    await store.close()


def an_ingest(store: Store) -> Ingest:
    """As it is behind a mongos."""
    return Ingest(store, lambda: datetime.now(UTC), is_cluster=True)


async def test_every_shard_key_has_an_index_that_mongodb_accepts_for_it(store: Store) -> None:
    for collection, key in SHARD_KEYS.items():
        await store[collection].insert_one({"_id": "attic", "probe": "attic"})
        space = f"{store.database.name}.{collection}"
        check = {"checkShardingIndex": space, "keyPattern": dict(key), "min": {}, "max": {}}
        answer = await store.database.command(check)
        assert answer["ok"] == 1, collection


async def test_a_run_is_taken_once_on_a_cluster_too(store: Store) -> None:
    ingest, run = an_ingest(store), a_run(900.0)
    first = await ingest.submit([run], None)
    again = await ingest.submit([run, run], None)
    assert len(first.accepted) == 1
    assert again.duplicates == [*first.accepted, *first.accepted]
    assert (await store["runs"].count_documents({}), again.rejected) == (1, [])


async def test_an_id_of_another_probe_is_refused_although_its_run_is_on_another_shard(
    store: Store,
) -> None:
    ingest, run = an_ingest(store), a_run(900.0, probe="attic")
    assert (await ingest.submit([run], None)).accepted
    # What lies on another shard, this one's index of `_id` does not know.
    await store["runs"].delete_many({})
    other = await ingest.submit([run | {"probe": "barn"}, a_run(800.0, probe="barn")], None)
    assert len(other.accepted) == 1
    assert [(each.index, each.field) for each in other.rejected] == [(0, "id")]
    assert "another probe" in other.rejected[0].message


async def test_runs_that_were_there_before_the_shards_keep_their_ids(store: Store) -> None:
    run = a_run(900.0, probe="attic")
    await Ingest(store, lambda: datetime.now(UTC)).submit([run], None)
    assert await store[RUN_IDS].count_documents({}) == 0
    for _ in range(2):
        await write_ids_down(store)
    other = await an_ingest(store).submit([run | {"probe": "barn"}], None)
    assert (other.accepted, len(other.rejected)) == ([], 1)
    assert await store[RUN_IDS].count_documents({}) == 1


async def test_a_replica_set_is_not_sharded(store: Store) -> None:
    with pytest.raises(ShardingError, match="mongos"):
        await lay_out(store)
    assert not await store.is_cluster()


def test_the_command_says_so_in_one_line(mongod: Mongod, database_name: str) -> None:
    kept = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    settings = {
        "SPEEDTRAP_GRAPH_MONGODB_URI": mongod.uri,
        "SPEEDTRAP_GRAPH_DATABASE": database_name,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "shard"],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("speedtrap-graph: this is no cluster")
