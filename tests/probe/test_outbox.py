import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.outbox import Outbox, Rejected

from tests.probe.builders import a_run

FILLER = """
import sys
from pathlib import Path
from tests.probe.builders import a_run
from speedtrap_probe.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
while True:
    run = a_run()
    outbox.put([run])
    print(run.id, flush=True)
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "data" / "outbox.sqlite3")


def test_runs_come_out_oldest_first_and_whole(outbox: Outbox) -> None:
    runs = [a_run() for _ in range(3)]
    outbox.put(runs)
    assert outbox.waiting(2) == runs[:2]
    assert outbox.waiting(10, after=runs[0].id) == runs[1:]
    assert len(outbox) == 3


def test_a_run_is_kept_once(outbox: Outbox) -> None:
    run = a_run()
    outbox.put([run, run])
    outbox.put([run])
    assert len(outbox) == 1


def test_only_what_was_acknowledged_goes(outbox: Outbox) -> None:
    first, second = a_run(), a_run()
    outbox.put([first, second])
    outbox.acknowledged([first.id])
    assert outbox.waiting(10) == [second]


def test_what_was_rejected_is_set_aside_with_the_reason(outbox: Outbox) -> None:
    run = a_run()
    outbox.put([run])
    outbox.reject([Rejected(run, "startedAt: in the future")])
    assert len(outbox) == 0
    assert outbox.rejections() == [Rejected(run, "startedAt: in the future")]


def test_a_full_outbox_drops_its_oldest_and_says_how_many(tmp_path: Path) -> None:
    small = Outbox(tmp_path / "outbox.sqlite3", capacity=3)
    runs = [a_run() for _ in range(5)]
    assert small.put(runs[:3]) == 0
    assert small.put(runs[3:]) == 2
    assert small.waiting(10) == runs[2:]


def test_writes_are_flushed_to_the_disk(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put([a_run()])
    database = sqlite3.connect(tmp_path / "data" / "outbox.sqlite3")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_a_file_that_is_no_outbox_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    path.write_text("this is no database, and long enough for SQLite to notice it" * 20)
    with pytest.raises(ProbeError, match="cannot be used"):
        Outbox(path)
    with pytest.raises(ProbeError, match="cannot be made"):
        Outbox(path / "below" / "outbox.sqlite3")


@pytest.mark.parametrize("after_ms", [0, 3, 11, 29, 47])
def test_what_was_put_survives_kill_9(after_ms: int, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    with subprocess.Popen([sys.executable, "-c", FILLER, path], stdout=subprocess.PIPE) as filler:
        assert filler.stdout is not None
        told = [filler.stdout.readline()]
        time.sleep(after_ms / 1000)
        os.kill(filler.pid, signal.SIGKILL)
        told += filler.stdout.readlines()
    promised = {line.decode().strip() for line in told if line.endswith(b"\n")}
    kept = {str(run.id) for run in Outbox(path).waiting(100_000)}
    assert promised <= kept
    assert len(kept) <= len(promised) + 1


def _put_many(path: Path, count: int) -> None:
    outbox = Outbox(path)
    for _ in range(count):
        outbox.put([a_run()])


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_many, args=(path, 20)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Outbox(path)) == 40
