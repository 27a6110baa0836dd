"""What a message advises is done literally, and works."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from speedtrap_graph import embedded
from speedtrap_graph.store.migrations import RESTORING, SCHEMA_VERSION

from tests.lab.mongo import free_port

MANY = 20_000
COMMAND = [sys.executable, "-m", "speedtrap"]


def speedtrap(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=dict(os.environ) | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def the_database(folder: Path) -> Iterator[Any]:
    """What `speedtrap up` keeps in *folder*, while nothing else of it runs."""
    mongod = embedded.prepare(folder / "mongo")
    process = subprocess.Popen(mongod.argv, stdout=subprocess.DEVNULL)
    try:
        embedded.settle(mongod, lambda: process.poll() is None)
        access = embedded.access(folder / "mongo")
        password = access.password_file.read_text()
        with MongoClient[Any](access.uri, username=access.username, password=password) as client:
            yield client["speedtrap"]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with many documents in its database, and a backup of them beside it."""
    place = tmp_path_factory.mktemp("made") / "data"
    (place / "mongo").mkdir(parents=True)
    (place / "logs").mkdir()
    with the_database(place) as database:
        database["things"].insert_many({"number": n, "text": "x" * 900} for n in range(MANY))
    done = speedtrap("backup", str(place.parent / "b.gz"), "--data-dir", str(place))
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


def mongods(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        found += [process.pid] if str(folder / "mongo" / "db") in words else []
    return found


def is_loading(folder: Path) -> bool:
    """Whether a restore has begun to write its collections beside those in use."""
    try:
        access = embedded.access(folder / "mongo")
        password = access.password_file.read_text()
        uri = access.uri + "&serverSelectionTimeoutMS=300"
        with MongoClient[Any](uri, username=access.username, password=password) as client:
            return "restoring.things" in client["speedtrap"].list_collection_names()
    except (OSError, PyMongoError):
        return False


def test_after_kill_9_in_the_middle_of_a_restore_the_advice_works(
    folder: Path, tmp_path: Path
) -> None:
    again = ("restore", str(tmp_path / "b.gz"), "--data-dir", str(folder))
    killed = subprocess.Popen([*COMMAND, *again, "--replace"], stdout=subprocess.DEVNULL)
    while not is_loading(folder):
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    while mongods(folder):
        time.sleep(0.05)
    with the_database(folder) as database:
        assert database["things"].count_documents({}) == MANY
        # And between two collections, which takes too short a moment to be hit.
        database["schema"].insert_one({"_id": RESTORING})
        database["things"].delete_many({"number": {"$gte": 100}})
    started = speedtrap("up", "--data-dir", str(folder), "--port", str(free_port()), "--no-probe")
    assert started.returncode == 1
    assert "run `speedtrap restore` again, with that backup or another" in started.stderr
    done = speedtrap(*again)
    assert done.returncode == 0, done.stderr
    with the_database(folder) as database:
        assert database["things"].count_documents({}) == MANY
        assert database["schema"].find_one({"_id": RESTORING}) is None
    assert not mongods(folder)


def test_on_a_database_of_a_newer_version_nothing_is_changed_and_the_advice_works(
    folder: Path, tmp_path: Path
) -> None:
    newer = {"_id": "schema", "version": SCHEMA_VERSION + 1}
    with the_database(folder) as database:
        database["schema"].replace_one({"_id": "schema"}, newer, upsert=True)
    started = speedtrap("up", "--data-dir", str(folder), "--port", str(free_port()), "--no-probe")
    assert started.returncode == 1
    assert "use the newer speedtrap, or another database" in started.stderr
    assert "with `speedtrap up` another --data-dir" in started.stderr
    with the_database(folder) as database:
        assert database["schema"].find_one({"_id": "schema"}) == newer
        assert database["things"].count_documents({}) == MANY
    other = tmp_path / "other"
    done = speedtrap("restore", str(tmp_path / "b.gz"), "--data-dir", str(other))
    assert done.returncode == 0, done.stderr
    with the_database(other) as database:
        assert database["things"].count_documents({}) == MANY


def test_a_backup_that_was_cut_off_is_refused_and_the_folder_stays_as_it_was(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "b.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    command = ("restore", str(file), "--replace", "--data-dir", str(folder))
    refused = speedtrap(*command)
    assert refused.returncode == 1
    assert "damaged or no backup" in refused.stderr
    with the_database(folder) as database:
        assert database["things"].count_documents({}) == MANY


def test_a_restore_over_what_is_there_is_refused_and_both_ways_out_work(
    folder: Path, tmp_path: Path
) -> None:
    file = str(tmp_path / "b.gz")
    refused = speedtrap("restore", file, "--data-dir", str(folder))
    assert refused.returncode == 1
    assert "with `speedtrap up` another --data-dir" in refused.stderr
    assert "--replace" in refused.stderr
    for advised in (
        ["--data-dir", str(tmp_path / "new")],
        ["--data-dir", str(folder), "--replace"],
    ):
        done = speedtrap("restore", file, *advised)
        assert done.returncode == 0, done.stderr
        with the_database(Path(advised[1])) as database:
            assert database["things"].count_documents({}) == MANY


@pytest.mark.parametrize("name", ["mongo/db/WiredTiger.turtle", "mongo/root_password"])
def test_a_database_that_does_not_open_is_left_alone_and_both_ways_out_work(
    folder: Path, tmp_path: Path, name: str
) -> None:
    file = folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    data = ["--data-dir", str(folder)]
    refused = speedtrap("backup", str(tmp_path / "new.gz"), *data)
    assert refused.returncode == 1
    assert "another --data-dir and `speedtrap restore` a backup there" in refused.stderr
    assert "put " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert file.read_bytes() == whole[: len(whole) // 2]
    other = tmp_path / "other"
    done = speedtrap("restore", str(tmp_path / "b.gz"), "--data-dir", str(other))
    assert done.returncode == 0, done.stderr
    file.write_bytes(whole)
    done = speedtrap("backup", str(tmp_path / "new.gz"), *data)
    assert done.returncode == 0, done.stderr
    for place in (folder, other):
        with the_database(place) as database:
            assert database["things"].count_documents({}) == MANY


def test_without_a_database_a_backup_says_to_start_one_or_to_name_another(
    folder: Path, tmp_path: Path
) -> None:
    file = str(tmp_path / "new.gz")
    refused = speedtrap("backup", file, "--data-dir", str(tmp_path / "nothing"))
    assert refused.returncode == 1
    assert "name another database in SPEEDTRAP_GRAPH_MONGODB_URI" in refused.stderr
    with the_database(folder):
        access = embedded.access(folder / "mongo")
        named = {
            "SPEEDTRAP_GRAPH_MONGODB_URI": access.uri,
            "SPEEDTRAP_GRAPH_MONGODB_USERNAME": access.username,
            "SPEEDTRAP_GRAPH_MONGODB_PASSWORD_FILE": str(access.password_file),
        }
        done = speedtrap("backup", file, "--data-dir", str(tmp_path / "nothing"), **named)
    assert done.returncode == 0, done.stderr
