"""What is asked for many probes at once is what would be found for each."""

from datetime import UTC, datetime

import pytest
from speedtrap_graph.rules.model import Metric, Plan, Rule
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.judging.standards import EPOCH, load_standards, load_standards_of
from speedtrap_graph.services.read.browse import Browse
from speedtrap_graph.store.database import Store

from tests.lab.runs import a_run

PROBES = ["attic", "barn", "cellar"]


@pytest.fixture
async def store(store: Store) -> Store:
    ingest = Ingest(store, lambda: datetime.now(UTC))
    runs = [a_run(900.0 - h, hours_ago=h + 1, probe=probe) for probe in PROBES for h in range(3)]
    assert len((await ingest.submit(runs, None)).accepted) == 9
    return store


async def test_standards_of_many_are_those_of_each(store: Store) -> None:
    plans = Plans(store, lambda: datetime.now(UTC))
    for probe, mbps in ((None, 1000.0), ("barn", 500.0)):
        await plans.set_plan(probe, Plan("ISP", mbps, None, "UTC", EPOCH))
    await plans.set_rule("attic", Rule(Metric.LATENCY, above_ms=80.0, more_than=2))
    found = await load_standards_of(store, [*PROBES, "nobody"])
    for probe in (*PROBES, "nobody"):
        assert found[probe] == await load_standards(store, probe), probe
    assert found["barn"].plans[0].download_mbps == 500.0
    assert Metric.LATENCY in found["attic"].pure_rules


async def test_the_newest_runs_of_many_are_found_also_where_no_document_names_them(
    store: Store,
) -> None:
    await store["probes"].update_one({"_id": "barn"}, {"$unset": {"newest": ""}})
    named = await store["probes"].find_one({"_id": "cellar"})
    assert named is not None
    await store["runs"].delete_one({"_id": named["newest"]["id"]})
    found = await Browse(store).last_runs([*PROBES, "nobody"])
    figures = {probe: row["measurements"][0]["download_mbps"] for probe, row in found.items()}
    assert figures == {"attic": 900.0, "barn": 900.0, "cellar": 899.0}
