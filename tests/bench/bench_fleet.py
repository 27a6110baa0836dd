"""24 hours of 10,000 probes: how many of them end exactly as the model says, and how long it takes.

`fleet_exact` is their share; `fleet_day_min` the minutes for the day, with the day as reference.
"""

import time

from speedtrap_graph.store.database import connect, prepare

from tests.graph.fleet import simulated
from tests.lab.mongo import Mongod

PROBES = 10_000
MINUTES_A_DAY = 24 * 60


async def bench_fleet(mongod: Mongod, database_name: str) -> None:
    store = connect(mongod.uri, database_name)
    await prepare(store)
    fleet = simulated(store, PROBES)
    began = time.perf_counter()
    await fleet.live()
    minutes = (time.perf_counter() - began) / 60
    wrong = await fleet.compare()
    breaches = await store["breaches"].count_documents({"status": {"$ne": "RETRACTED"}})
    print(
        f"\nfleet_exact {1 - len(wrong) / PROBES:.4f} 1.0000 ({PROBES - len(wrong)} of {PROBES}"
        f" probes; {fleet.accepted} runs, {fleet.repeated} of them twice, {fleet.too_early} from"
        f" the future, {breaches} breaches)"
    )
    print(f"fleet_day_min {minutes:.1f} {MINUTES_A_DAY}")
    await store.close()
