"""speedtrap as a user starts it: `speedtrap up` in a process of its own, and commands beside it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.lab.mongo import free_port

PARTS = {"mongod": "mongod", "service": "speedtrap_up.service", "bots": "bots"}
"""A word in the command line of each part."""


T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, within_s: float = 90) -> T:
    """The first thing that *look* finds; a failed connection is a reason to look again."""
    deadline = time.monotonic() + within_s
    while True:
        found: T | None = None
        with contextlib.suppress(httpx.HTTPError):
            found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing came within {within_s:g} s")
        time.sleep(0.1)


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", *arguments]


@dataclass
class House:
    """One data folder and the `speedtrap up` that holds it."""

    folder: Path
    settings: Mapping[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def terminal(self) -> str:
        """What the user has seen."""
        return (self.folder / "terminal").read_text(encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
        return clean | dict(self.settings)

    def key(self, part: str) -> str:
        return (self.data / "keys" / part).read_text(encoding="utf-8").strip()

    def start(self, *options: str) -> None:
        """Returns once the page's address is printed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "terminal").open("ab") as terminal:
            self.process = subprocess.Popen(
                _python(
                    "speedtrap",
                    "up",
                    "--data-dir",
                    str(self.data),
                    "--port",
                    str(self.port),
                    *options,
                ),
                env=self.environment,
                stdout=terminal,
                stderr=terminal,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        eventually(self._ready)

    def stop(self) -> int:
        """SIGTERM, as systemd would; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def kill(self, part: str) -> None:
        """kill -9 of one part, which the supervisor starts again."""
        victim = eventually(lambda: self._part(part))
        victim.kill()
        victim.wait()

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`speedtrap …` in this house's environment."""
        return subprocess.run(
            _python("speedtrap", *arguments),
            env=self.environment | settings,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=120,
            check=False,
        )

    def start_bots(self) -> subprocess.Popen[bytes]:
        """A second worker beside the one that `up` runs, on the same ledger."""
        told = {
            "SPEEDTRAP_BOTS_GRAPH_URL": self.url,
            "SPEEDTRAP_BOTS_KEY_FILE": str(self.data / "keys" / "bots"),
        }
        with (self.folder / "second-bots").open("ab") as log:
            return subprocess.Popen(
                _python("speedtrap", "bots", "run"),
                env=self.environment | told,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def ask(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One operation with the admin key; httpx.HTTPError while the service is away."""
        answer = httpx.post(
            f"{self.url}/graphql",
            headers={"X-API-Key": self.key("admin")},
            json={"query": document, "variables": dict(variables or {})},
            timeout=20,
        )
        if answer.status_code >= 500:
            answer.raise_for_status()
        body = answer.json()
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    def left_behind(self) -> list[str]:
        """Command lines of processes that still speak of this folder."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            words = " ".join(process.info["cmdline"] or [])
            if str(self.folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(words)
        return found

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.terminal
        return "To log in" in self.terminal and httpx.get(f"{self.url}/readyz").status_code == 200

    def _part(self, part: str) -> psutil.Process | None:
        assert self.process is not None
        word = PARTS[part]
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if any(word in argument for argument in child.cmdline()):
                    return child
        return None


@contextlib.contextmanager
def a_house(folder: Path, *options: str, **settings: str) -> Iterator[House]:
    """A running speedtrap with a fresh data folder; *settings* are environment variables."""
    house = House(folder, settings)
    try:
        house.start(*options)
        yield house
    finally:
        if house.process is not None:
            house.stop()
        print(house.terminal)  # noqa: T201 - pytest shows it when the test failed
