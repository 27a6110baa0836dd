import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from speedtrap_probe.clock import Tick
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files.outbox import NEVER_TOO_OLD, Bounds, Outbox, Rejected
from speedtrap_probe.model import to_json

from tests.probe.builders import a_run

FILLER = """
import sys
from pathlib import Path
from tests.probe.builders import a_run
from speedtrap_probe.files.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
while True:
    run = a_run()
    outbox.put([run])
    print(run.id, flush=True)
"""


FIRST_LAYOUT = """
CREATE TABLE runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL
);
CREATE TABLE rejected (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    reason TEXT NOT NULL, rejected_at TEXT NOT NULL
);
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
    small = Outbox(tmp_path / "outbox.sqlite3", Bounds(size_bytes=200_000))
    runs = [a_run() for _ in range(400)]
    gone = sum(small.put([run]).too_many for run in runs)
    assert 0 < gone < len(runs)
    assert small.waiting(len(runs)) == runs[gone:]


def test_the_newest_run_stays_however_small_the_outbox(tmp_path: Path) -> None:
    tiny = Outbox(tmp_path / "outbox.sqlite3", Bounds(size_bytes=1))
    runs = [a_run() for _ in range(3)]
    assert [tiny.put([run]).too_many for run in runs] == [0, 1, 1]
    assert tiny.waiting(10) == runs[2:]


def test_runs_that_waited_too_long_go_and_are_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3", Bounds(age_s=3600))
    runs = [a_run() for _ in range(NEVER_TOO_OLD + 5)]
    outbox.put(runs)
    age(tmp_path / "outbox.sqlite3", "2020-01-01T00:00:00+00:00")
    assert outbox.put([a_run()]).too_old == 6
    assert outbox.waiting(1) == [runs[6]]


def test_a_clock_that_jumped_ahead_does_not_empty_the_outbox(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite3", Bounds(age_s=3600))
    outbox.put([a_run() for _ in range(NEVER_TOO_OLD - 1)])
    age(tmp_path / "outbox.sqlite3", "1970-01-01T00:00:00+00:00")
    assert not outbox.put([a_run()])
    assert len(outbox) == NEVER_TOO_OLD


def age(path: Path, kept_at: str) -> None:
    """As if everything had been kept then."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE runs SET kept_at = ?", (kept_at,))


def test_an_outbox_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path, run = tmp_path / "outbox.sqlite3", a_run()
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(FIRST_LAYOUT)
        database.execute(
            "INSERT INTO runs (id, document) VALUES (?, ?)", (str(run.id), json.dumps(to_json(run)))
        )
    outbox, later = Outbox(path), a_run()
    outbox.put([later], Tick("boot", 5.0))
    assert [(kept.run, kept.tick) for kept in outbox.kept(10)] == [
        (run, None),
        (later, Tick("boot", 5.0)),
    ]


def test_writes_are_flushed_to_the_disk(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put([a_run()])
    database = sqlite3.connect(tmp_path / "data" / "outbox.sqlite3")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot be made"):
        len(Outbox(tmp_path / "file" / "outbox.sqlite3"))


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
