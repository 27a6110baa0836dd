"""The guide's table is what its figures say, and names the shard keys that there are."""

import re
from dataclasses import fields
from pathlib import Path

from speedtrap_graph.store.shards import SHARD_KEYS

from tests.bench.capacity import FLEETS, Figures, need, rows

GUIDE = (Path(__file__).resolve().parents[2] / "docs/scaling.md").read_text(encoding="utf-8")


def the_guides_figures() -> Figures:
    found = dict(re.findall(r"^\| `(\w+)` \| ([\d.e+]+) \|$", GUIDE, re.MULTILINE))
    assert found.keys() == {each.name for each in fields(Figures)}
    return Figures(**{name: float(value) for name, value in found.items()})


def test_every_row_of_what_a_fleet_needs_follows_from_the_figures() -> None:
    figures = the_guides_figures()
    for row in rows(need(probes, figures) for probes in FLEETS):
        assert row in GUIDE


def test_a_fleet_needs_what_it_costs_with_half_of_each_core_left_free() -> None:
    found = need(3_600_000, Figures(1, 2, 0.5, 1000, 1e6, 3000, 1e4))
    assert (found.runs_per_s, found.graph_copies) == (1000, 2)
    assert (found.mongod_cores, found.gateway_cores) == (4, 1)
    assert found.disk_gb_per_year == 3_600_000 * (24 * 365 * 1000 + 1e6) / 1e9
    assert found.oplog_gb_per_day == 3_600_000 * 24 * 3000 / 1e9
    assert found.shards == 36
    assert need(1, Figures(1, 2, 0.5, 1000, 1e6, 3000, 1e4)).shards == 1


def test_every_shard_key_is_in_the_guide() -> None:
    table = GUIDE.split("| collection | shard key |")[1].split("\n\n")[0]
    for collection, key in SHARD_KEYS.items():
        row = next(line for line in table.splitlines() if f"`{collection}`" in line)
        assert all(f"`{field}`" in row for field in key), collection
