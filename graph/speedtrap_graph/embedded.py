"""A private mongod for one machine: its own folder, loopback only, access control on.

This module says how it is started and makes it usable; the caller owns the process.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

REPLICA_SET = "speedtrap"
UNFINISHED = "unfinished"
"""A file that is there where the first start was cut off and cannot be taken up again."""
ROOT_USER = "root"
APP_USER = "speedtrap"

_ALREADY_INITIALIZED = 23
_NOT_YET_INITIALIZED = 94
_USER_EXISTS = 51003
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18

NO_MONGOD = """\
speedtrap keeps its runs in MongoDB, and there is no mongod here. Three ways out:
  1. On Linux x86-64: install the extra that carries one: pip install 'speedtrap-graph[embedded]'
  2. Install MongoDB, so that mongod is on the PATH, or say where: SPEEDTRAP_MONGOD=/path/to/mongod
  3. Use a server of your own: SPEEDTRAP_GRAPH_MONGODB_URI=mongodb://host/?replicaSet=name,
     or run speedtrap with docker compose
"""


class EmbeddedError(Exception):
    """The private mongod cannot be had or does not work; the message is for a person."""


class NoMongodError(EmbeddedError):
    """There is no mongod on this machine."""


@dataclass(frozen=True, slots=True)
class Access:
    """What graph needs to reach it. The password stays in its file, mode 0600."""

    uri: str
    username: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class Mongod:
    """One private mongod, ready to be started on `port` with its files in `folder`."""

    executable: Path
    folder: Path
    port: int

    @property
    def argv(self) -> list[str]:
        """Without a secret: the key is in a file, users are made after the start."""
        return [
            str(self.executable),
            *("--dbpath", str(self.folder / "db")),
            *("--port", str(self.port)),
            *("--bind_ip", "127.0.0.1"),
            *("--replSet", REPLICA_SET),
            *("--keyFile", str(self.folder / "keyfile")),
            # 6.0.5 has an unpatched hole in zlib's decompressor.
            *("--networkMessageCompressors", "snappy,zstd"),
            *("--wiredTigerCacheSizeGB", "0.25"),
            *("--oplogSize", "256"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # A transaction whose graph was killed is in the way of its probe until it runs out;
            # none of ours takes longer than a second or two.
            *("--setParameter", "transactionLifetimeLimitSeconds=10"),
            # A single node has nobody to hand over to: do not wait 15 s for that at SIGTERM.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            "--nounixsocket",
            "--quiet",
        ]


def access(folder: Path) -> Access:
    """How the mongod that was last prepared in *folder* is reached."""
    port = int((folder / "port").read_text())
    uri = f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}&authSource=admin"
    return Access(uri, APP_USER, folder / "app_password")


def prepare(folder: Path, environ: Mapping[str, str] = os.environ) -> Mongod:
    """Finds mongod and makes its files in *folder*; may be called again before every start.

    Nothing that is there is ever deleted. A database that `settle` could not open is set aside.
    """
    executable = find_mongod(folder, environ)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = folder / "db"
    if (folder / UNFINISHED).exists():
        database.rename(folder / f"db.unfinished-{time.time_ns()}")
        (folder / UNFINISHED).unlink()
    if (database / "WiredTiger").exists() and not _has_text(folder / "root_password"):
        raise EmbeddedError(_no_password(folder))
    database.mkdir(mode=0o700, exist_ok=True)
    for name in ("keyfile", "root_password", "app_password"):
        _write_once(folder / name, secrets.token_hex(32))
    return Mongod(executable, folder, _choose_port(folder / "port"))


def find_mongod(folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """From SPEEDTRAP_MONGOD, the PATH or the wheel of the `embedded` extra, in this order."""
    if named := environ.get("SPEEDTRAP_MONGOD"):
        if shutil.which(named) is None:
            raise NoMongodError(
                f"SPEEDTRAP_MONGOD={named} is not a program that can be started.\n{NO_MONGOD}"
            )
        return Path(str(shutil.which(named)))
    if on_path := shutil.which("mongod", path=environ.get("PATH", os.defpath)):
        return Path(on_path)
    spec = find_spec("fiftyone")
    for place in (spec and spec.submodule_search_locations) or ():
        wheel = Path(place) / "db" / "bin" / "mongod"
        if wheel.is_file():
            return _executable(wheel, folder)
    raise NoMongodError(NO_MONGOD)


def settle(mongod: Mongod, alive: Callable[[], bool], timeout_s: float = 90) -> None:
    """Makes a started mongod usable: replica set, users, port. Returns once it takes writes.

    Gives up as soon as *alive* says that the process has ended. The time is generous: on a new
    port mongod first asks its old address whether it lives there, for 30 s where somebody
    listens and does not answer.
    """
    patience = _Patience(alive, time.monotonic() + timeout_s, mongod.folder)
    try:
        _settle(mongod, patience)
    except PyMongoError as error:
        raise EmbeddedError(f"mongod on port {mongod.port} cannot be set up: {error}") from error


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long a step is waited for."""

    alive: Callable[[], bool]
    deadline: float
    folder: Path

    def wait(self, what: str) -> None:
        """Waits a moment, or raises with *what* did not happen."""
        if not self.alive():
            raise EmbeddedError(
                f"mongod ended before it {what}; its log says why. {what_to_do(self.folder)}"
            )
        if time.monotonic() > self.deadline:
            raise EmbeddedError(f"mongod runs, and after a long while it has not yet {what}")
        time.sleep(0.1)


def _settle(mongod: Mongod, patience: _Patience) -> None:
    root_password = (mongod.folder / "root_password").read_text()
    _wait_until_it_answers(mongod, patience)
    if not _opens(mongod, root_password, patience):
        if (mongod.folder / "ready").exists():
            raise EmbeddedError(_no_password(mongod.folder))
        _begin(mongod, root_password, patience)
    with _client(mongod, username=ROOT_USER, password=root_password) as client:
        _follow_port(client, mongod.port, patience)
        _wait_until_writable(client, patience)
        _ensure_app_user(client, (mongod.folder / "app_password").read_text())
    _write_once(mongod.folder / "ready", "")


def _no_password(folder: Path) -> str:
    return (
        f"{folder / 'root_password'} does not open the database in {folder / 'db'}, which has not "
        "been changed: put the file back as it was, as from a copy of the folder, or begin with "
        "another --data-dir and `speedtrap restore` a backup there"
    )


def _opens(mongod: Mongod, root_password: str, patience: _Patience) -> bool:
    with _client(mongod, username=ROOT_USER, password=root_password) as client:
        while True:
            try:
                client.admin.command("connectionStatus")
            except AutoReconnect:
                patience.wait("answered to its password")
            except OperationFailure as error:
                return error.code != _AUTHENTICATION_FAILED
            else:
                return True


def _begin(mongod: Mongod, root_password: str, patience: _Patience) -> None:
    """A first start, or one that was cut off: taken up where it was."""
    try:
        _initiate(mongod, root_password, patience)
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        # There are users already, and none has this password.
        raise EmbeddedError(_no_password(mongod.folder)) from error
    except EmbeddedError as error:
        if not patience.alive():
            raise
        (mongod.folder / UNFINISHED).touch()
        raise EmbeddedError(
            f"the first start of the database in {mongod.folder / 'db'} was cut off and cannot be "
            "taken up again: start once more, and it is set aside there as db.unfinished-… and a "
            "new one begun"
        ) from error


def what_to_do(folder: Path) -> str:
    """Where mongod does not open the database in *folder*: nothing of it is ever taken away."""
    return (
        f"{folder / 'db'} is as it was: put its files back as from a copy of the folder (those of "
        "another owner: give them to the user who runs speedtrap), or begin with another "
        "--data-dir and `speedtrap restore` a backup there"
    )


def check_libraries(executable: Path) -> None:
    """Raises in plain words where mongod cannot even print its version."""
    done = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EmbeddedError(
            f"{executable} does not start: {done.stderr.strip() or f'exit {done.returncode}'}\n"
            "On Debian and Ubuntu the missing library usually comes with: apt-get install libcurl4"
        )


def _executable(wheel: Path, folder: Path) -> Path:
    """A wheel cannot carry the run bit. Where site-packages are read-only, a copy gets it."""
    if os.access(wheel, os.X_OK):
        return wheel
    try:
        wheel.chmod(wheel.stat().st_mode | 0o111)
    except OSError:
        copy = folder / "bin" / "mongod"
        if not copy.exists() or copy.stat().st_size != wheel.stat().st_size:
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(wheel, copy)
            copy.chmod(0o700)
        return copy
    return wheel


def _choose_port(file: Path) -> int:
    """The port of last time where it is still free, otherwise another, which is kept."""
    if file.exists():
        try:
            port = int(file.read_text())
        except ValueError:
            port = 0
        if port and _is_free(port):
            return port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    file.write_text(str(port))
    return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _has_text(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _write_once(file: Path, text: str) -> None:
    """Whole or not at all, readable by its owner only, and never changed afterwards."""
    if _has_text(file) or (file.exists() and not text):
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


@contextmanager
def _client(
    mongod: Mongod, username: str | None = None, password: str | None = None
) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1",
        mongod.port,
        directConnection=True,
        serverSelectionTimeoutMS=2_000,
        username=username,
        password=password,
    )
    try:
        yield client
    finally:
        client.close()


def _wait_until_it_answers(mongod: Mongod, patience: _Patience) -> None:
    with _client(mongod) as client:
        while True:
            try:
                client.admin.command("ping")
            except PyMongoError:
                patience.wait("answered")
            else:
                return


def _initiate(mongod: Mongod, root_password: str, patience: _Patience) -> None:
    """MongoDB lets the first client on loopback do exactly this while there is no user."""
    member = {"_id": 0, "host": f"127.0.0.1:{mongod.port}"}
    with _client(mongod) as client:
        _initiate_once(client, {"_id": REPLICA_SET, "members": [member]}, patience)
        _wait_until_writable(client, patience)
        client.admin.command(
            "createUser", ROOT_USER, pwd=root_password, roles=[{"role": "root", "db": "admin"}]
        )


def _initiate_once(
    client: MongoClient[dict[str, Any]], config: Mapping[str, Any], patience: _Patience
) -> None:
    while True:
        try:
            client.admin.command("replSetInitiate", config)
        except AutoReconnect:
            patience.wait("been initiated")
            continue
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:
                raise
        return


def _follow_port(client: MongoClient[dict[str, Any]], port: int, patience: _Patience) -> None:
    """A replica set knows its member by address: on another port it would not know itself."""
    config = _replica_set_config(client, patience)
    host = f"127.0.0.1:{port}"
    if config["members"][0]["host"] == host:
        return
    config["members"][0]["host"] = host
    config["version"] += 1
    client.admin.command("replSetReconfig", config, force=True)


def _replica_set_config(client: MongoClient[dict[str, Any]], patience: _Patience) -> dict[str, Any]:
    """mongod answers a moment before it has read its own configuration."""
    while True:
        try:
            config: dict[str, Any] = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            patience.wait("read its configuration")
        else:
            return config


def _wait_until_writable(client: MongoClient[dict[str, Any]], patience: _Patience) -> None:
    while True:
        # While a member changes its state, mongod drops all connections.
        with contextlib.suppress(AutoReconnect):
            if client.admin.command("hello").get("isWritablePrimary"):
                return
        patience.wait("taken writes")


def _ensure_app_user(client: MongoClient[dict[str, Any]], password: str) -> None:
    roles = [{"role": role, "db": "speedtrap"} for role in ("readWrite", "dbAdmin")]
    try:
        client.admin.command("createUser", APP_USER, pwd=password, roles=roles)
    except OperationFailure as error:
        if error.code != _USER_EXISTS:
            raise
        # The file may be another one than it was.
        client.admin.command("updateUser", APP_USER, pwd=password, roles=roles)
