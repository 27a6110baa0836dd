"""kill -9 at random points of a run: everything is whole, and nothing is there twice."""

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from speedtrap_probe.files import report
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.service.submit import Beat, Service, deliver

from tests.lab.collector import KEY, Ledger, collector
from tests.lab.drills import mostly_drilled
from tests.probe.test_programs import OOKLA_VERSION, a_speedtest

CAPTURE = Path(__file__).parent / "captures" / "ookla"
ROOT = Path(__file__).parents[2]


def killed(count: int, folder: Path, seed: int = 1) -> str:
    """Kills so many runs in *folder* and checks what they left behind."""
    capture = next(path for path in sorted(CAPTURE.glob("*.json")) if "ok" in path.stem
                   or "result" in path.stem or "good" in path.stem)  # fmt: skip
    program = a_speedtest(folder / "bin", OOKLA_VERSION, capture)
    ledger, file = Ledger(), folder / "report.csv"
    with collector(ledger) as server:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab.killed", str(count), str(seed),
             "run", "-q", "--tool", "ookla", "-k", KEY, "--url", server.url, "--csv", str(file)],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "SPEEDTRAP_PROBE_NAME": "laptop",
                "SPEEDTRAP_PROBE_DATA_DIR": str(folder / "data"),
                "SPEEDTRAP_PROBE_CHECKS": server.url.removeprefix("http://"),
                "SPEEDTRAP_PROBE_LOOK": "0s",
                "SPEEDTRAP_PROBE_OOKLA_COMMAND": str(program),
            },
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        outbox = Outbox(folder / "data" / "outbox.sqlite3")
        assert deliver(outbox, Service(server.url, KEY), Beat("laptop")).problem is None
    assert len(outbox) == 0
    assert outbox.rejections() == []
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert file.read_text().count(report.HEADER) == 1
    assert all(set(row) == set(report.COLUMNS) and None not in row.values() for row in rows)
    assert max(Counter(row["run_id"] for row in rows).values()) == 1
    assert {UUID(row["run_id"]) for row in rows} <= set(ledger.runs)
    for run in ledger.runs.values():
        assert [one["tool"] for one in run["measurements"]] == ["ookla"]
    assert not [one for one in psutil.process_iter(["cmdline"]) if _of(one, program)]
    return f"{done.stdout.strip()}: {len(rows)} rows, {len(ledger.runs)} runs delivered"


def _of(process: psutil.Process, program: Path) -> bool:
    return str(program) in (process.info["cmdline"] or [])


@pytest.mark.parametrize("count", mostly_drilled([2, 8], [2]))
def test_runs_killed_at_random_points_leave_everything_whole(count: int, tmp_path: Path) -> None:
    """Two hundred are killed by `make bench`."""
    assert killed(count, tmp_path).startswith(f"killed {count} runs")
