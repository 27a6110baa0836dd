"""The real service for other suites: graph, alone or with web, as a process of its own.

    with running_service(mongod, database_name, tmp_path) as service:
        httpx.post(f"{service.base_url}/graphql", headers={"X-API-Key": service.keys["admin"]}, ...)

`keys` has one key for each role: `admin`, `viewer`, `bot`, and `probe` for the probe `laptop`.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.lab.mongo import Mongod, ReplicaSet, free_port

START_TIMEOUT_S = 120.0
PROBE = "laptop"


@dataclass
class Service:
    """One process on one port. `kill` and `start` play a crash and a recovery."""

    settings: Mapping[str, str]
    """The environment it runs with."""
    keys: Mapping[str, str]
    keys_file: Path
    log: Path
    with_web: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    def start(self) -> None:
        """Starts it and returns once it is ready."""
        graph_alone = ["-c", "from speedtrap_graph.cli import main; main()", "serve", "--port"]
        runner = ["-m", "tests.lab.together"] if self.with_web else graph_alone
        environment = {
            **{name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name},
            "SPEEDTRAP_WEB_GRAPH_URL": self.base_url,
            # Tests ask more in a minute than people do; those of the quotas set their own.
            "SPEEDTRAP_GRAPH_REQUESTS_PER_MINUTE": "off",
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *runner, str(self.port)],
                env=environment,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        self._end(signal.SIGTERM)

    def query(
        self, document: str, variables: Mapping[str, Any] | None = None, role: str = "admin"
    ) -> dict[str, Any]:
        """The data of one operation; AssertionError when there are errors."""
        answer = self.post(document, variables, role)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def post(
        self, document: str, variables: Mapping[str, Any] | None = None, role: str = "admin"
    ) -> dict[str, Any]:
        """The whole answer of one operation, errors and all."""
        response = httpx.post(
            f"{self.base_url}/graphql",
            headers={"X-API-Key": self.keys[role]},
            json={"query": document, "variables": dict(variables or {})},
            timeout=60,
        )
        answer: dict[str, Any] = response.json()
        return answer

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"the service ended at once:\n{self.log.read_text()[-3000:]}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"not ready in time:\n{self.log.read_text()[-3000:]}")


def write_keys(path: Path, probe: str = PROBE) -> dict[str, str]:
    """A key file with one fresh key a role; the keys by role."""
    keys = {role: secrets.token_urlsafe(24) for role in ("admin", "viewer", "bot", "probe")}
    names = {"admin": "operator", "viewer": "page", "bot": "postman", "probe": probe}
    lines = [f'"{key}" "{names[role]}:{role}";\n' for role, key in keys.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return keys


def make_service(
    mongod: Mongod | ReplicaSet,
    database_name: str,
    folder: Path,
    *,
    with_web: bool = False,
    **settings: str,
) -> Service:
    """A service that is not started yet. Two with one folder share their keys."""
    folder.mkdir(parents=True, exist_ok=True)
    keys_file = folder / "api_keys"
    keys = _read_keys(keys_file) if keys_file.exists() else write_keys(keys_file)
    environment = {
        "SPEEDTRAP_GRAPH_MONGODB_URI": mongod.uri,
        "SPEEDTRAP_GRAPH_DATABASE": database_name,
        "SPEEDTRAP_GRAPH_KEYS_FILE": str(keys_file),
        "SPEEDTRAP_WEB_KEY": keys["viewer"],
        "SPEEDTRAP_WEB_SESSION_SECRET": secrets.token_urlsafe(32),
        **settings,
    }
    log = folder / f"service-{secrets.token_hex(3)}.log"
    return Service(environment, keys, keys_file, log, with_web)


@contextlib.contextmanager
def running_service(
    mongod: Mongod | ReplicaSet,
    database_name: str,
    folder: Path,
    *,
    with_web: bool = False,
    **settings: str,
) -> Iterator[Service]:
    """graph on a port of its own; `with_web` adds the web app on the same port.

    Further *settings* are environment variables, e.g. `SPEEDTRAP_GRAPH_AUTO_APPROVE="mail"`.
    """
    service = make_service(mongod, database_name, folder, with_web=with_web, **settings)
    try:
        service.start()
        yield service
    finally:
        service.stop()


def _read_keys(path: Path) -> dict[str, str]:
    parts = [line.split('"') for line in path.read_text(encoding="utf-8").splitlines()]
    return {part[3].rpartition(":")[2]: part[1] for part in parts}
