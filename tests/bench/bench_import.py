"""A year of hourly runs of one probe, 500 at a time, one request after the other: runs a second,
and what of that is left for the last batch when the year is already there.
"""

import time
from pathlib import Path

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import running_service
from tests.lab.wire import PLAN, SET_PLAN

HOURS = 8_760
BATCH = 500


def bench_import_of_a_year(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    runs = [a_run(940.0, hours_ago=24 + HOURS - hour) for hour in range(HOURS)]
    with running_service(mongod, database_name, tmp_path) as service:
        service.query(SET_PLAN, {"plan": PLAN})
        took_s = []
        for first in range(0, HOURS, BATCH):
            began = time.perf_counter()
            service.query(SUBMIT, {"runs": runs[first : first + BATCH]}, role="probe")
            took_s.append(time.perf_counter() - began)
    print(f"\nimport_year {HOURS / sum(took_s):.0f} runs/s")
    # The last batch is a part of one; the one before it is whole.
    print(f"import_growth {took_s[-2] / took_s[1]:.2f} {took_s[1] * 1000:.0f} ms")
