"""Three server processes on one replica set: what is judged right, and how fast.

`race_exact` is the share of probes that ended exactly as the model says; `race_hot_per_s` the
submissions of one run each that one probe's runs were answered at, with the goal of 100.
"""

from contextlib import ExitStack
from pathlib import Path

from speedtrap_graph.store.database import connect, prepare

from tests.graph.race import buy, held_against_the_model, race, runs_of
from tests.lab.mongo import Mongod
from tests.lab.service import running_service

SERVERS = 3
RUNS = 100
HOT_RUNS = 3000
GOAL_PER_S = 100


async def bench_race(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    store = connect(mongod.uri, database_name)
    await prepare(store)
    twenty = {f"probe-{number}": runs_of(f"probe-{number}", number, RUNS) for number in range(20)}
    hot = {"hot": runs_of("hot", 99, HOT_RUNS)}
    print()
    with ExitStack() as stack:
        services = [
            stack.enter_context(running_service(mongod, database_name, tmp_path))
            for _ in range(SERVERS)
        ]
        await buy(services[0])
        for name, by_probe in (("twenty", twenty), ("hot", hot)):
            per_s = await race(services, [run for runs in by_probe.values() for run in runs])
            found = await held_against_the_model(store, per_s, by_probe)
            print(
                f"race_exact_{name} {found.exact / found.probes:.2f} 1.00"
                f" ({found.exact} of {found.probes} probes, {found.breaches} breaches)"
            )
            print(f"race_{name}_per_s {per_s:.0f} {GOAL_PER_S}")
    await store.close()
