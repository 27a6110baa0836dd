"""What is on the probe's disk may be damaged: the rest goes on, and nothing of it is deleted."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from speedtrap_probe.files import report
from speedtrap_probe.files.database import Database
from speedtrap_probe.files.outbox import SET_ASIDE_CAPACITY, Outbox, Rejected
from speedtrap_probe.files.state import State
from speedtrap_probe.model import from_json, to_json
from speedtrap_probe.service.submit import Service, deliver

from tests.lab.collector import KEY, Ledger, collector
from tests.probe.builders import a_run
from tests.probe.home import NOWHERE, Home, wait_for

NOBODY = 65534
RUN = ("run", "--url", NOWHERE, "--tool", "lan")


HARMLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Root is refused nothing, but without its capabilities it is a user like all."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def probe(home: Home, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """As a user whom the system refuses things."""
    return subprocess.run(
        [*(HARMLESS if os.geteuid() == 0 else ()), *home.argv(*arguments)],
        env=home.env | environ,
        cwd=home.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\x17no database\xff" * 1000)


def of_another_owner(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(0o600 if os.geteuid() == 0 else 0)


def read_only(path: Path) -> None:
    path.chmod(0o444)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("of somebody")


def a_page_overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xee" * 4096
    path.write_bytes(content)


HARM = [cut_in_half, garbage, of_another_owner, read_only, a_folder]


def content_of(path: Path) -> bytes:
    return (path / "something" if path.is_dir() else path).read_bytes()


@pytest.mark.parametrize("harm", HARM)
def test_an_outbox_that_cannot_be_used_is_set_aside_by_name_and_the_advice_brings_all_its_runs(
    home: Home, harm: Callable[[Path], None]
) -> None:
    waiting = [a_run() for _ in range(60)]
    file = home.folder / "data" / "outbox.sqlite3"
    Outbox(file).put(waiting)
    for run in waiting:
        report.append(home.csv, run)
    harm(file)
    damaged, ledger = content_of(file), Ledger()
    with collector(ledger) as server:
        given = ("-k", KEY, "--url", server.url)
        flushed = probe(home, "flush", *given, SPEEDTRAP_PROBE_CSV=str(home.csv))
        assert flushed.returncode == 0, flushed.stderr
        (aside,) = file.parent.glob("outbox.sqlite3.damaged-*[0-9]")
        assert content_of(aside) == damaged
        assert f"it is kept as {aside}" in flushed.stderr
        assert f"`speedtrap-probe import {home.csv}` brings them" in flushed.stderr
        imported = probe(home, "import", str(home.csv), *given)
    assert imported.returncode == 0, imported.stderr
    assert "could not be used" not in imported.stderr
    assert set(ledger.runs) == {run.id for run in waiting}


@pytest.mark.parametrize("harm", [cut_in_half, read_only, a_page_overwritten])
def test_what_can_be_read_of_a_damaged_outbox_waits_in_the_new_one(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    file, runs = tmp_path / "outbox.sqlite3", [a_run() for _ in range(600)]
    Outbox(file).put(runs)
    harm(file)
    saved = {run.id for run in Outbox(file).waiting(1000)}
    assert len(saved) >= 10
    assert saved <= {run.id for run in runs}


def test_where_an_outbox_cannot_even_be_set_aside_the_sentence_says_what_to_do(home: Home) -> None:
    data = home.folder / "data"
    home.outbox.put([a_run()])
    read_only(data / "outbox.sqlite3")
    data.chmod(0o555)
    flushed = probe(home, "flush", "-k", KEY, "--url", NOWHERE)
    assert flushed.returncode == 4
    said = "".join(flushed.stderr.split())
    advice = f"{data} must be a folder, with room, that belongs to the user who runs the probe"
    assert advice.replace(" ", "") in said
    assert "SPEEDTRAP_PROBE_DATA_DIR" in said
    data.chmod(0o700)
    with collector(ledger := Ledger()) as server:
        assert probe(home, "flush", "-k", KEY, "--url", server.url).returncode == 0
    assert len(ledger.runs) == 1


def spoil(file: Path, number: int, document: object) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE runs SET document = ? WHERE place = ?", (document, number))


def with_(**changes: object) -> str:
    return json.dumps(to_json(a_run()) | changes)


@pytest.mark.parametrize(
    "document",
    [b"\xff\xfe", "", "null", "[]", "[" * 100_000, '{"id": 1}',
     with_(conditions={"fromTheFuture": 1}), with_(probe=7), with_(measurements=None),
     with_(startedAt="yesterday"), with_(startedAt="2026-01-01T00:00:00"), with_()],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_set_aside_and_the_others_are_delivered(
    tmp_path: Path, document: object, caplog: pytest.LogCaptureFixture
) -> None:
    file, runs = tmp_path / "outbox.sqlite3", [a_run() for _ in range(3)]
    Outbox(file).put(runs)
    spoil(file, 2, document)
    with collector(ledger := Ledger()) as server:
        delivery = deliver(Outbox(file), Service(server.url, KEY))
    assert (delivery.waiting, delivery.problem) == (0, None)
    assert set(ledger.runs) == {runs[0].id, runs[2].id}
    assert f"run {runs[1].id} in the outbox cannot be read: it is set aside" in caplog.text
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT CAST(document AS BLOB) FROM rejected").fetchall() == [
            (document.encode() if isinstance(document, str) else document,)
        ]


def test_flush_says_of_a_row_that_it_cannot_be_read_and_lists_it(home: Home) -> None:
    runs = [a_run() for _ in range(3)]
    home.outbox.put(runs)
    spoil(home.folder / "data" / "outbox.sqlite3", 2, b"\xff")
    with collector(ledger := Ledger()) as server:
        done = home.probe("flush", "-k", KEY, "--url", server.url)
    assert (done.returncode, len(ledger.runs)) == (0, 2)
    assert "it is set aside, `flush` lists it" in done.stderr
    assert f"set aside: run {runs[1].id}: it cannot be read" in done.stdout.replace("\n", "")


def test_a_whole_batch_that_cannot_be_read_does_not_hide_what_is_behind_it(tmp_path: Path) -> None:
    file, runs = tmp_path / "outbox.sqlite3", [a_run() for _ in range(120)]
    Outbox(file).put(runs)
    for number in range(1, 111):
        spoil(file, number, "{")
    with collector(ledger := Ledger()) as server:
        assert deliver(Outbox(file), Service(server.url, KEY)).waiting == 0
    assert set(ledger.runs) == {run.id for run in runs[110:]}
    assert len(Outbox(file).set_aside()) == 110


def test_beyond_its_bound_the_oldest_that_were_set_aside_are_kept_in_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, run = Outbox(tmp_path / "outbox.sqlite3"), a_run()
    many = [Rejected(replace(run, id=uuid4()), "not yours") for _ in range(SET_ASIDE_CAPACITY + 2)]
    outbox.reject(many)
    moved = [json.loads(line) for line in (tmp_path / "set-aside.ndjson").read_text().splitlines()]
    kept = [one.id for one in outbox.set_aside()]
    assert [one["id"] for one in moved] + kept == [str(one.run.id) for one in many]
    assert from_json(json.loads(moved[0]["document"])) == many[0].run
    assert moved[0]["reason"] == "not yours"
    assert str(tmp_path / "set-aside.ndjson") in caplog.text


@pytest.mark.parametrize("value", ["{", "[]", "7", '{"download_mbps": "x"}', b"\xff"])
def test_facts_that_cannot_be_read_are_learned_again(tmp_path: Path, value: object) -> None:
    database = Database(tmp_path / "outbox.sqlite3")
    state = State(database)
    for name in ("plan", "limits"):
        with database.open() as opened:
            opened.execute("INSERT INTO facts VALUES (?, ?)", (name, value))
    assert state.limits_s(datetime.now(UTC)) == {}
    state.plan()
    state.remember_plan(None)
    assert state.plan() is None


def closed_csv(home: Home) -> dict[str, str]:
    home.csv.mkdir()
    return {}


def closed_folder(home: Home) -> dict[str, str]:
    (home.folder / "file").write_text("")
    return {"SPEEDTRAP_PROBE_DATA_DIR": str(home.folder / "file" / "data")}


def test_a_run_that_only_the_outbox_took_is_said_so(home: Home) -> None:
    done = home.probe(*RUN, "-k", KEY, **closed_csv(home))
    assert done.returncode == 1  # there is nothing to measure with
    assert "this run is only in the outbox" in done.stderr.replace("\n", " ")
    assert len(home.outbox) == 1


@pytest.mark.parametrize("key", [(), ("-k", KEY)])
def test_a_run_that_nothing_took_is_an_error_of_its_own(home: Home, key: tuple[str, ...]) -> None:
    done = home.probe(*RUN, *key, **closed_csv(home), **closed_folder(home))
    assert done.returncode == 4
    assert "the run could not be kept" in done.stderr.replace("\n", " ")


def test_watch_goes_on_after_a_run_that_nothing_took(home: Home) -> None:
    closed_csv(home)
    watching = home.start("watch", "--every", "1s", "--jitter", "0s", *RUN[1:])
    try:
        assert watching.stderr is not None
        seen = (line for line in watching.stderr if "the run could not be kept" in line)
        assert next(seen)
        home.csv.rmdir()
        wait_for(home.csv.is_file)
    finally:
        watching.terminate()
        watching.communicate()
    assert home.rows()
