"""The services by the dozen, each a process of its own.

The programs are loaded once and forked for each, so that a new one costs no seconds.

    python -m tests.lab.nursery MODULE...     the modules to load
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from tests.lab.mongo import Mongod
from tests.lab.service import Service, make_service

BOTS, NOTICES, GRAPH = (
    "speedtrap_bots.cli:app",
    "speedtrap_bots.cli:notices_app",
    "speedtrap_graph.cli:app",
)
LOADED = (
    "speedtrap_bots.cli",
    "speedtrap_bots.serve",
    "speedtrap_bots.channels.apprise",
    "speedtrap_bots.channels.mail",
    "speedtrap_bots.channels.twitter",
    "speedtrap_bots.channels.webhook",
    "apprise",
    "speedtrap_graph.cli",
)
"""What a service would load as it starts: here once for all."""
WAIT_S = 120.0
"""Generous: on a busy machine everything takes its time."""


def main() -> None:
    """Starts what stdin asks for, line by line, and says how it ended; all end with stdin."""
    for name in sys.argv[1:]:
        import_module(name)
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            answer = _ended(request["ended"], codes)
        else:
            answer = os.fork()
            if answer == 0:
                _be(request)
            codes[answer] = None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in codes:
        if _ended(pid, codes) is None:
            os.kill(pid, signal.SIGKILL)


def _ended(pid: int, codes: dict[int, int | None]) -> int | None:
    if codes[pid] is None:
        done, status = os.waitpid(pid, os.WNOHANG)
        codes[pid] = os.waitstatus_to_exitcode(status) if done else None
    return codes[pid]


def _be(request: dict[str, Any]) -> None:
    """The child: never comes back."""
    module, _, name = request["app"].partition(":")
    app = getattr(import_module(module), name)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.update(request["environment"])
    code: object = 1
    try:
        app(request["arguments"])
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


@dataclass
class Done:
    """How a command ended, as `subprocess.run` tells it."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Nursery:
    """`app` is which of the loaded commands a process is."""

    process: subprocess.Popen[str]
    folder: Path
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        app: str = BOTS,
    ) -> int:
        """The process' id."""
        request = {
            "app": app, "arguments": arguments, "environment": dict(environment),
            "stdout": str(stdout), "stderr": str(stderr),
        }  # fmt: skip
        return int(self._ask(request))

    def ended(self, pid: int) -> int | None:
        """Its exit code (negative: the signal), None while it runs."""
        code: int | None = self._ask({"ended": pid})
        return code

    def wait(self, pid: int) -> int:
        deadline = time.monotonic() + WAIT_S
        while (code := self.ended(pid)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {pid} did not end")
            time.sleep(0.02)
        return code

    def run(self, *arguments: str, environment: Mapping[str, str], app: str = BOTS) -> Done:
        """Starts it and waits for its end."""
        with self._lock:
            self._count += 1
            out, err = (self.folder / f"{self._count}.{name}" for name in ("out", "err"))
        pid = self.start(*arguments, environment=environment, stdout=out, stderr=err, app=app)
        code = self.wait(pid)
        return Done(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))

    def _ask(self, request: Mapping[str, Any]) -> Any:
        with self._lock:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())


@contextmanager
def a_nursery(folder: Path) -> Iterator[Nursery]:
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.nursery", *LOADED],
        env={**clean, "COLUMNS": "200"},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nursery(process, folder)
    finally:
        process.communicate()


@dataclass
class ForkedService(Service):
    """graph, in a process that the nursery forked."""

    nursery: Nursery | None = None
    pid: int = 0

    def start(self) -> None:
        assert self.nursery is not None
        environment = {"SPEEDTRAP_GRAPH_REQUESTS_PER_MINUTE": "off", **self.settings}
        self.pid = self.nursery.start(
            *("serve", "--port", str(self.port)),
            environment=environment,
            stdout=self.log,
            stderr=self.log,
            app=GRAPH,
        )
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if self.nursery.ended(self.pid) is not None:
                break
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the service did not start:\n{self.log.read_text()[-3000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self.nursery is not None and self.pid and self.nursery.ended(self.pid) is None:
            os.kill(self.pid, how)
            self.nursery.wait(self.pid)


@contextmanager
def forked_service(
    nursery: Nursery, mongod: Mongod, database_name: str, folder: Path, **settings: str
) -> Iterator[ForkedService]:
    """As `running_service`, without the seconds that loading takes."""
    made = make_service(mongod, database_name, folder, with_web=False, **settings)
    service = ForkedService(made.settings, made.keys, made.keys_file, made.log, nursery=nursery)
    try:
        service.start()
        yield service
    finally:
        service.stop()


if __name__ == "__main__":
    main()
