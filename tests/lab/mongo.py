"""Real mongods for tests: a replica set of one or three on loopback, gone when the session ends."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

REPLICA_SET = "speedtrap"
START_TIMEOUT_S = 60.0


def mongod_executable() -> Path:
    """`SPEEDTRAP_MONGOD`, then PATH, then the wheel of the `embedded` extra."""
    named = os.environ.get("SPEEDTRAP_MONGOD") or shutil.which("mongod")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("fiftyone")
    for root in spec.submodule_search_locations or () if spec else ():
        path = Path(root) / "db" / "bin" / "mongod"
        if path.exists():
            # The wheel installs it without its run bit.
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            return path
    raise FileNotFoundError("no mongod: set SPEEDTRAP_MONGOD, put it on PATH, or install the extra")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mongod:
    """One mongod with its data folder. `kill` and `start` play a crash and a recovery."""

    data_dir: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    oplog_mb: int = 64
    arguments: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}"

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.uri, tz_aware=True, uuidRepresentation="standard")

    def start(self) -> None:
        """Starts it and returns once it takes writes."""
        self.launch()
        self._wait_until_primary()

    def launch(self) -> None:
        """Starts the process, as a member of a set that others look after."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "mongod.log").open("ab") as log:
            self.process = subprocess.Popen(  # argv is fixed
                [
                    str(mongod_executable()),
                    f"--dbpath={self.data_dir}",
                    f"--port={self.port}",
                    "--bind_ip=127.0.0.1",
                    f"--replSet={REPLICA_SET}",
                    f"--oplogSize={self.oplog_mb}",
                    "--wiredTigerCacheSizeGB=0.25",
                    "--networkMessageCompressors=snappy,zstd",
                    "--nounixsocket",
                    "--setParameter=diagnosticDataCollectionEnabled=false",
                    *self.arguments,
                ],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """As a power cut would: SIGKILL, nothing flushed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Its data are thrown away with the session, so there is nothing to shut down cleanly."""
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _wait_until_primary(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        with pymongo.MongoClient[dict[str, Any]](
            "127.0.0.1",
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=500,
        ) as client:
            while time.monotonic() < deadline:
                if self.process is None or self.process.poll() is not None:
                    raise RuntimeError(f"mongod ended at once; see {self.data_dir}/mongod.log")
                with contextlib.suppress(PyMongoError):
                    hello = client.admin.command("hello")
                    if hello.get("isWritablePrimary"):
                        return
                    if "setName" not in hello:
                        client.admin.command(
                            "replSetInitiate", {"_id": REPLICA_SET, "members": [member]}
                        )
                time.sleep(0.05)
        raise RuntimeError(f"mongod took no writes within {START_TIMEOUT_S:.0f} s")


@dataclass(frozen=True)
class ReplicaSet:
    """Three mongods of which any two go on without the third."""

    members: tuple[Mongod, ...]

    @property
    def uri(self) -> str:
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(
            self.uri, tz_aware=True, uuidRepresentation="standard", w="majority"
        )

    def primary(self) -> Mongod:
        """Waits until there is one."""
        with self.client() as client:
            client.admin.command("ping")
            port = (client.primary or ("", 0))[1]
        return next(member for member in self.members if member.port == port)

    def start(self, election_timeout_ms: int) -> None:
        for member in self.members:
            member.launch()
        config = {
            "_id": REPLICA_SET,
            "members": [
                {"_id": place, "host": f"127.0.0.1:{member.port}"}
                for place, member in enumerate(self.members)
            ],
            "settings": {"electionTimeoutMillis": election_timeout_ms},
        }
        self._initiate(config)
        self._wait_until_all_follow()

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def _initiate(self, config: dict[str, Any]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with pymongo.MongoClient[dict[str, Any]](
            "127.0.0.1", self.members[0].port, directConnection=True
        ) as client:
            while True:
                try:
                    client.admin.command("replSetInitiate", config)
                except PyMongoError:
                    # The others may not listen yet.
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
                else:
                    return

    def _wait_until_all_follow(self) -> None:
        """Only then can any one be killed without a loss of the majority."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with self.client() as client:
            while time.monotonic() < deadline:
                states = client.admin.command("replSetGetStatus")["members"]
                if {state["stateStr"] for state in states} == {"PRIMARY", "SECONDARY"}:
                    return
                time.sleep(0.1)
        raise RuntimeError(f"the set was not complete within {START_TIMEOUT_S:.0f} s")


@contextlib.contextmanager
def replica_set_of_three(data_dir: Path, election_timeout_ms: int = 2000) -> Iterator[ReplicaSet]:
    """A set that elects a new primary soon after the old one was killed."""
    servers = ReplicaSet(tuple(Mongod(data_dir / name) for name in ("a", "b", "c")))
    try:
        servers.start(election_timeout_ms)
        yield servers
    finally:
        servers.stop()


@contextlib.contextmanager
def running_mongod(
    data_dir: Path, *, oplog_mb: int = 64, arguments: tuple[str, ...] = ()
) -> Iterator[Mongod]:
    server = Mongod(data_dir, oplog_mb=oplog_mb, arguments=arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def fresh_database(server: Mongod) -> Iterator[str]:
    """A database name that nobody else uses; dropped afterwards if the server still answers."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    with (
        contextlib.suppress(PyMongoError),
        pymongo.MongoClient[dict[str, Any]](server.uri, serverSelectionTimeoutMS=500) as client,
    ):
        client.drop_database(name)
