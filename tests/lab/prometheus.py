"""A real Prometheus, unpacked by `setup`, in a folder and on a port of its own; and promtool."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.lab.mongo import free_port
from tests.lab.setup import MONITORS_UNPACKED

START_TIMEOUT_S = 120.0
_BIN = MONITORS_UNPACKED / "prometheus/usr/bin"


@dataclass(frozen=True)
class Prometheus:
    """One server and what it knows."""

    url: str
    process: subprocess.Popen[bytes]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector now; ValueError with Prometheus' own words for a bad expression."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        body = answer.json()
        if body["status"] != "success":
            raise ValueError(f"{expression}: {body['error']}")
        found: list[dict[str, Any]] = body["data"]["result"]
        return found

    def until(self, expression: str) -> list[dict[str, Any]]:
        """The vector, once there is one."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (found := self.query(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} never had a value")
            time.sleep(0.1)
        return found

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", timeout=30).json()["data"]


@contextlib.contextmanager
def running_prometheus(folder: Path, configuration: str) -> Iterator[Prometheus]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    port = free_port()
    arguments = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen([str(_BIN / "prometheus"), *arguments], stdout=log, stderr=log)
    try:
        _wait_until_ready(process, port, folder / "prometheus.log")
        yield Prometheus(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"prometheus ended at once: {log.read_text(encoding='utf-8')}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError("prometheus was not ready in time")


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What it says and how it ended."""
    return subprocess.run(
        [str(_BIN / "promtool"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
