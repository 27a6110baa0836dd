"""A real mongod for tests: a single-node replica set on loopback, gone when the session ends."""

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

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}"

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.uri, tz_aware=True, uuidRepresentation="standard")

    def start(self) -> None:
        """Starts it and returns once it takes writes."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "mongod.log").open("ab") as log:
            self.process = subprocess.Popen(  # argv is fixed
                [
                    str(mongod_executable()),
                    f"--dbpath={self.data_dir}",
                    f"--port={self.port}",
                    "--bind_ip=127.0.0.1",
                    f"--replSet={REPLICA_SET}",
                    "--oplogSize=64",
                    "--wiredTigerCacheSizeGB=0.25",
                    "--networkMessageCompressors=snappy,zstd",
                    "--nounixsocket",
                    "--setParameter=diagnosticDataCollectionEnabled=false",
                ],
                stdout=log,
                stderr=log,
            )
        self._wait_until_primary()

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


@contextlib.contextmanager
def running_mongod(data_dir: Path) -> Iterator[Mongod]:
    server = Mongod(data_dir)
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
