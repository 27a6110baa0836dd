"""How the collections lie on the shards of a cluster, once one replica set is full.

What grows with the probes is spread by the probe: its name is the shard key, or what the shard key
begins with, so that whatever is asked about one probe is asked of one shard. All else (plans,
breaches, events, notices: what happens rarely, and what must be in one order) stays whole on the
database's first shard.

All runs of a probe are on one shard, whose index of `_id` tells when one comes again. What no
shard can tell is that two probes on two of them use the same id: that is what `run_ids` is for.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from pymongo import ASCENDING, UpdateOne
from pymongo.errors import OperationFailure

from speedtrap_graph.store.database import Row, Store, prepare

RUN_IDS = "run_ids"

SHARD_KEYS: Mapping[str, Mapping[str, int]] = {
    "probes": {"_id": 1},
    "runs": {"probe": 1},
    RUN_IDS: {"_id": 1},
    "past_runs": {"probe": 1},
    "rollups": {"_id": 1},
    "rollup_marks": {"probe": 1},
    "rollup_states": {"_id": 1},
}
"""Each is supported by an index that is there anyway. The `_id` of a rolled-up bucket begins with
its probe's name; a run's is random, and so spreads by itself."""

_HAVE_IDS = ("runs", "deleted_runs", "past_runs")


class ShardingError(ConnectionError):
    """It cannot be laid out; the message is for a person."""


async def claim_ids(store: Store, probe: str, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Whose *ids* are: what was nobody's is *probe*'s from now on, whatever becomes of the run."""
    wanted = list(ids)
    mine = {"$setOnInsert": {"probe": probe}}
    await store[RUN_IDS].bulk_write(
        [UpdateOne({"_id": run_id}, mine, upsert=True) for run_id in wanted], ordered=False
    )
    rows = store[RUN_IDS].find({"_id": {"$in": wanted}}, {"probe": 1})
    return {row["_id"]: row["probe"] async for row in rows}


async def lay_out(store: Store) -> dict[str, bool]:
    """Shards what is not yet sharded: the collections, and whether each is sharded only now.

    May be repeated, and must be after a restore. Services may run meanwhile, except at the very
    first time: a run that came before the ids were written down is in nobody's name.
    """
    if not await store.is_cluster():
        raise ShardingError(
            "this is no cluster: SPEEDTRAP_GRAPH_MONGODB_URI must lead to a mongos, with shards "
            "behind it"
        )
    await prepare(store)
    await write_ids_down(store)
    return {name: await _shard(store, name, key) for name, key in SHARD_KEYS.items()}


async def _shard(store: Store, collection: str, key: Mapping[str, int]) -> bool:
    space = f"{store.database.name}.{collection}"
    known = await store.client["config"]["collections"].find_one({"_id": space})
    # MongoDB 8 lists collections that lie whole on one shard, too.
    if known is not None and not known.get("dropped") and not known.get("unsplittable"):
        if known["key"] != key:
            raise ShardingError(f"{space} is sharded by {known['key']} already, not by {key}")
        return False
    try:
        await store.client.admin.command({"shardCollection": space, "key": dict(key)})
    except OperationFailure as error:
        why = (error.details or {}).get("errmsg", "it does not say why")
        raise ShardingError(f"MongoDB does not shard {space}: {why}") from error
    return True


async def write_ids_down(store: Store) -> None:
    """The ids of all runs that are or were here; to be found by their probe too, for its end."""
    await store[RUN_IDS].create_index([("probe", ASCENDING)])
    for collection in _HAVE_IDS:
        steps: list[Row] = [
            {"$project": {"probe": 1}},
            {"$merge": {"into": RUN_IDS, "on": "_id", "whenMatched": "keepExisting"}},
        ]
        await (await store[collection].aggregate(steps)).to_list()
