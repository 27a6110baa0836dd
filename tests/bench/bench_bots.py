"""The torture of the bots: 200 notices a channel, four workers, every fault at every step."""

import time
from pathlib import Path

from tests.bots.torture import Scale, a_torture
from tests.lab.mongo import Mongod

LARGE = Scale(
    notices=200,
    workers=4,
    refused=9,
    faults=2,
    disturbances=60,
    disturb_every_s=2,
    deadline_s=1800,
    seed=200,
)


def bench_two_hundred_notices_and_everything_goes_wrong(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    with a_torture(LARGE, mongod, database_name, tmp_path) as torture:
        torture.run()
        print()
        for name, count in torture.report().items():
            print(name, count)
        for line in torture.disagreements():
            print("ledger and servers disagree:", line)
    print("seconds", round(time.monotonic() - began))
