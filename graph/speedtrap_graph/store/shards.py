"""How the collections lie on the shards of a cluster, once one replica set is full.

What grows with the probes is spread by the probe: its name is the shard key, or what the shard key
begins with, so that whatever is asked about one probe is asked of one shard. All else (plans,
breaches, events, notices: what happens rarely, and what must be in one order) stays whole on the
database's first shard.
"""

from collections.abc import Mapping

Key = Mapping[str, int | str]

SHARD_KEYS: Mapping[str, Key] = {
    "probes": {"_id": 1},
    "runs": {"probe": 1},
    "rollups": {"_id": 1},
    "rollup_marks": {"probe": 1},
    "rollup_states": {"_id": 1},
}
"""Each is supported by an index that is there anyway. The `_id` of a rolled-up bucket begins with
its probe's name."""
