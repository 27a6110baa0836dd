"""A day of a small fleet; `tests/bench/bench_fleet.py` has a large one."""

from speedtrap_graph.store.database import Store

from tests.graph.fleet import simulated


async def test_every_figure_of_a_day_of_a_fleet_is_the_models(store: Store) -> None:
    fleet = simulated(store, 120)
    await fleet.live()
    assert fleet.accepted == sum(len(home.runs) for home in fleet.homes)
    assert fleet.repeated > 50
    assert fleet.too_early > 5
    assert await fleet.compare() == []
    assert await store["breaches"].count_documents({"status": {"$ne": "RETRACTED"}}) > 20
