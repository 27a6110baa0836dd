"""Three servers, one replica set: who took a run in, and when, leaves no trace."""

from contextlib import ExitStack
from pathlib import Path

from speedtrap_graph.store.database import Store

from tests.graph.race import buy, held_against_the_model, race, runs_of
from tests.lab.mongo import Mongod
from tests.lab.service import running_service


async def test_three_servers_at_once_judge_every_probe_as_the_model_does(
    mongod: Mongod, database_name: str, store: Store, tmp_path: Path
) -> None:
    by_probe = {f"probe-{number}": runs_of(f"probe-{number}", number, 12) for number in range(5)}
    by_probe["hot"] = runs_of("hot", 99, 120)
    with ExitStack() as stack:
        services = [
            stack.enter_context(running_service(mongod, database_name, tmp_path)) for _ in range(3)
        ]
        await buy(services[0])
        per_s = await race(services, [run for runs in by_probe.values() for run in runs])
    found = await held_against_the_model(store, per_s, by_probe)
    assert found.exact == found.probes
    assert found.breaches > 3
    for probe, runs in by_probe.items():
        assert await store["runs"].count_documents({"probe": probe}) == len(runs)
