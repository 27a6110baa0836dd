"""One file while running, and from it the same service again; or nothing is changed."""

import gzip
import hashlib
import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from speedtrap_graph.clock import system_clock
from speedtrap_graph.services.upkeep.archive import DamagedBackupError, Writer, verify, writer
from speedtrap_graph.services.upkeep.backup import back_up, write_backup
from speedtrap_graph.services.upkeep.restore import RestoreError, restore
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.migrations import (
    RESTORING,
    SCHEMA,
    SCHEMA_VERSION,
    HalfRestoredError,
)

from tests.graph.rules.builders import a_plan, a_reading
from tests.graph.services.stored import Row, a_stored_run
from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, make_service
from tests.lab.wire import PLAN, PLAN_NOTICE, SET_PLAN

FIGURES = """
query($since: DateTime!, $until: DateTime!) {
  me { name role }
  probes { name runCount firstRunAt streak plans { provider downloadMbps since } }
  runs(first: 100) { nodes { id startedAt receivedAt outcome outcomeReason downloadMbps } }
  history(probe: "laptop", since: $since, until: $until, buckets: 24) {
    t median p10 p90 n below outages subscribedMbps
  }
  serviceReport(probe: "laptop", since: $since, until: $until) {
    n medianMbps medianRatio verdict longestStreak belowShare percentiles
  }
  breaches { nodes { id reference status count medianMbps openedAt resolvedAt runs { id } } }
  notices { nodes { id digest status subject text attachments { name sha256 } } }
  deletedRuns { id by reason }
}
"""
DELETE = 'mutation($id: UUID!) { deleteRun(id: $id, reason: "a mistake") { id } }'


@pytest.fixture
async def other(mongod: Mongod) -> AsyncIterator[Store]:
    """An empty database on the same server."""
    with fresh_database(mongod) as name:
        opened = connect(mongod.uri, name)
        yield opened
        await opened.close()


def command(*words: str, uri: str, database: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", *words],
        env={"SPEEDTRAP_GRAPH_MONGODB_URI": uri, "SPEEDTRAP_GRAPH_DATABASE": database},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lived_in(service: Service) -> None:
    """A plan, a breach that was complained about, a good run, an outage, a deletion."""
    service.query(SET_PLAN, {"plan": PLAN})
    runs = [*slow_runs(8), a_run(900, hours_ago=1), a_run(None, hours_ago=0.5)]
    service.query(SUBMIT, {"runs": runs})
    service.query(DELETE, {"id": runs[0]["id"]})
    (breach,) = service.query("{ breaches { nodes { id } } }")["breaches"]["nodes"]
    notice = {
        "breach": breach["id"],
        "stage": "OPENING",
        "channel": "mail",
        "recipient": "support@isp.example",
        "subject": "Slow since Tuesday — again",
        "text": "Dear support desk",
        "attachments": [
            {
                "name": "chart.png",
                "mediaType": "image/png",
                "contentBase64": "AAECAwQ=",
                "altText": "A",
            }
        ],
    }
    service.query(PLAN_NOTICE, {"notice": notice}, "bot")


def figures(service: Service, until: datetime) -> dict[str, Any]:
    span = {"since": (until - timedelta(days=1)).isoformat(), "until": until.isoformat()}
    return service.query(FIGURES, span)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_restored_backup_shows_the_same_figures_and_goes_on(
    service: Service, mongod: Mongod, tmp_path: Path
) -> None:
    lived_in(service)
    now, file = datetime.now(UTC), tmp_path / "speedtrap.backup.gz"
    before = figures(service, now)
    taken = command("backup", str(file), uri=mongod.uri, database=database_of(service))
    assert taken.returncode == 0, taken.stderr
    assert "9 runs" in taken.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name) == [file.name]

    with fresh_database(mongod) as name:
        done = command("restore", str(file), uri=mongod.uri, database=name)
        assert done.returncode == 0, done.stderr
        again = make_service(mongod, name, tmp_path)
        try:
            again.start()
            assert figures(again, now) == before
            more = [a_run(probe="attic")]
            accepted = again.query(SUBMIT, {"runs": more})["submitRuns"]["accepted"]
            assert accepted == [more[0]["id"]]
        finally:
            again.stop()


async def test_a_restore_takes_the_place_of_what_was_there_only_when_told_to(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "b.gz"
    await store["runs"].insert_many(stored(3))
    await back_up(store, file, system_clock)
    before = await contents(store)
    await store["runs"].delete_one({})
    await store["silences"].insert_one({"_id": "laptop", "reason": "later"})
    changed = await contents(store)
    with pytest.raises(RestoreError, match="--replace"):
        await restore(store, file)
    assert await contents(store) == changed
    await restore(store, file, replace=True)
    assert await contents(store) == before


def test_a_backup_can_go_to_the_standard_output(mongod: Mongod, database_name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "backup", "-"],
        env={
            "SPEEDTRAP_GRAPH_MONGODB_URI": mongod.uri,
            "SPEEDTRAP_GRAPH_DATABASE": database_name,
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"standard output: 0 runs, 0 documents.\n"
    first, *_, last = gzip.decompress(done.stdout).splitlines()
    assert json.loads(first)["schema_version"] == 1
    assert json.loads(last)["end"]["documents"] == {}


async def test_a_backup_can_come_from_the_standard_input(
    service: Service, mongod: Mongod, store: Store, other: Store, tmp_path: Path
) -> None:
    lived_in(service)
    # It writes down who asked, a little later.
    service.stop()
    file = tmp_path / "speedtrap.backup.gz"
    await back_up(store, file, system_clock)
    refused = restore_from(b"no backup", mongod.uri, other.database.name)
    assert (refused.returncode, b"Traceback" in refused.stderr) == (1, False)
    done = restore_from(file.read_bytes(), mongod.uri, other.database.name)
    assert done.returncode == 0, done.stderr
    assert await contents(other) == await contents(store)


def restore_from(content: bytes, uri: str, database: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "restore", "-"],
        env={"SPEEDTRAP_GRAPH_MONGODB_URI": uri, "SPEEDTRAP_GRAPH_DATABASE": database},
        input=content,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_folder_that_is_not_there_is_said_so(mongod: Mongod, database_name: str) -> None:
    file = "/nowhere/at/all.gz"
    for word in ("backup", "restore"):
        done = command(word, file, uri=mongod.uri, database=database_name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"speedtrap-graph: {file} cannot be")
        assert "Traceback" not in done.stderr


async def test_what_one_transaction_wrote_is_in_the_backup_together(
    service: Service, store: Store, other: Store, tmp_path: Path
) -> None:
    """Runs are submitted all the while; the count in the probe's document betrays a torn copy."""
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            service.query(SUBMIT, {"runs": [a_run(), a_run()]})

    submitting = threading.Thread(target=submit)
    submitting.start()
    try:
        for number in range(3):
            await back_up(store, tmp_path / f"{number}.gz", system_clock)
    finally:
        stop.set()
        submitting.join()
    for number in range(3):
        await restore(other, tmp_path / f"{number}.gz", replace=True)
        probe = await other["probes"].find_one({"_id": "laptop"})
        assert await other["runs"].count_documents({}) == (probe or {}).get("run_count", 0)


async def test_indexes_are_made_again(store: Store, other: Store, tmp_path: Path) -> None:
    await store["runs"].insert_many(stored(3))
    await back_up(store, tmp_path / "b.gz", system_clock)
    await restore(other, tmp_path / "b.gz")
    for name in await store.database.list_collection_names():
        if name != SCHEMA:
            mine = await store[name].index_information()
            assert await other[name].index_information() == mine, name
    assert await contents(other) == await contents(store)


async def test_an_older_backup_is_brought_up_to_date(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await store["breaches"].insert_one({"_id": "old", "metric": "DOWNLOAD"})
    await store[SCHEMA].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    await back_up(store, tmp_path / "b.gz", system_clock)
    await restore(other, tmp_path / "b.gz")
    assert (await other["breaches"].find_one() or {})["rule_key"] == "DOWNLOAD"
    assert (await other[SCHEMA].find_one({"_id": "schema"}) or {})["version"] == SCHEMA_VERSION


def a_newer_version(packed: bytes) -> bytes:
    current = f'"schema_version": {SCHEMA_VERSION}'.encode()
    return gzip.compress(sealed(gzip.decompress(packed).replace(current, b'"schema_version": 99')))


def sealed(text: bytes) -> bytes:
    """With the digest that it should have."""
    body, _, last = text.rstrip(b"\n").rpartition(b"\n")
    end = json.loads(last)
    end["end"]["sha256"] = hashlib.sha256(body + b"\n").hexdigest()
    return body + b"\n" + json.dumps(end).encode() + b"\n"


def without_a_line(packed: bytes) -> bytes:
    lines = gzip.decompress(packed).splitlines(keepends=True)
    return gzip.compress(b"".join(lines[:-2] + lines[-1:]))


def one_figure_changed(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).replace(b'"500.0"', b'"50.00"', 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:-9],
        lambda packed: packed[:400] + bytes([packed[400] ^ 1]) + packed[401:],
        lambda packed: gzip.compress(gzip.decompress(packed) + b"{}\n"),
        lambda packed: gzip.compress(gzip.decompress(packed).rpartition(b'{"end"')[0]),
        lambda _: b"",
        lambda _: gzip.compress(b""),
        lambda _: gzip.compress(b'["a list"]\n'),
        lambda _: b"timestamp,run_id,probe\n",
        without_a_line,
        one_figure_changed,
    ],
    ids=[
        "half of it", "without its end", "a flipped bit", "with more behind it", "unsealed",
        "empty", "packed emptiness", "other JSON", "a table", "a line less", "another figure",
    ],
)  # fmt: skip
def test_a_damaged_file_is_known_as_such(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "b.gz"
    with file.open("wb") as raw, writer(raw) as packed:
        archive = Writer(packed)
        archive.begin(2, "2026-11-01T00:00:00Z")
        archive.collection("runs")
        for row in stored(20):
            archive.document(row)
        archive.end()
    assert verify(file).documents == {"runs": 20}
    damaged = damage(file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    with pytest.raises(DamagedBackupError, match="damaged or no backup"):
        verify(file)


async def test_a_damaged_file_is_refused_with_nothing_changed(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "b.gz"
    await store["runs"].insert_many(stored(20))
    await back_up(store, file, system_clock)
    file.write_bytes(file.read_bytes()[:-9])
    before = await contents(store)
    with pytest.raises(DamagedBackupError, match="damaged or no backup"):
        await restore(store, file, replace=True)
    assert await contents(store) == before


async def test_a_backup_of_later_code_is_refused_with_nothing_changed(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "b.gz"
    await store["runs"].insert_many(stored(2))
    await back_up(store, file, system_clock)
    file.write_bytes(a_newer_version(file.read_bytes()))
    assert verify(file).schema_version == 99
    before = await contents(store)
    with pytest.raises(RestoreError, match=f"knows versions up to {SCHEMA_VERSION}"):
        await restore(store, file, replace=True)
    assert await contents(store) == before


async def test_a_failed_backup_leaves_the_one_before(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "b.gz"
    await back_up(store, file, system_clock)
    before = file.read_bytes()
    await store[SCHEMA].update_one({"_id": "schema"}, {"$set": {"version": SCHEMA_VERSION + 1}})
    with pytest.raises(ConnectionError):
        await back_up(store, file, system_clock)
    assert file.read_bytes() == before
    assert names_in(tmp_path) == [file.name]


async def test_an_interrupted_restore_keeps_services_out_until_it_is_done_again(
    store: Store, tmp_path: Path
) -> None:
    """As it is when the process is killed between two collections."""
    file = tmp_path / "b.gz"
    await store["runs"].insert_many(stored(2))
    await back_up(store, file, system_clock)
    await store[SCHEMA].insert_one({"_id": RESTORING})
    await store["restoring.runs"].insert_one({"half": "done"})
    for use in (prepare(store), store.ping(), write_backup(store, sys.stderr.buffer, system_clock)):
        with pytest.raises(HalfRestoredError, match="run `speedtrap restore` again"):
            await use
    await restore(store, file)
    await store.ping()
    assert "restoring.runs" not in await store.database.list_collection_names()
    assert await store["runs"].count_documents({}) == 2


async def test_memory_stays_flat_however_much_there_is(
    store: Store, other: Store, tmp_path: Path
) -> None:
    peaks = []
    for count in (600, 1800):
        await store["runs"].delete_many({})
        await store["runs"].insert_many(stored(count))
        tracemalloc.start()
        await back_up(store, tmp_path / "b.gz", system_clock)
        saved = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        await restore(other, tmp_path / "b.gz", replace=True)
        peaks.append((saved, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (few_saved, few_restored), (all_saved, all_restored) = peaks
    assert all_saved < 1.5 * few_saved
    assert all_restored < 1.5 * few_restored


def stored(count: int) -> list[Row]:
    plan, since = a_plan(), datetime(2026, 1, 1, tzinfo=UTC)
    return [
        a_stored_run(
            a_reading("ookla", 500.0, latency=12.0),
            at=since + timedelta(hours=number),
            number=number,
            plan=plan,
        )
        for number in range(count)
    ]


async def contents(store: Store) -> dict[str, list[Row]]:
    names = sorted(await store.database.list_collection_names())
    return {name: await store[name].find().sort("_id").to_list() for name in names}


def database_of(service: Service) -> str:
    return service.settings["SPEEDTRAP_GRAPH_DATABASE"]
