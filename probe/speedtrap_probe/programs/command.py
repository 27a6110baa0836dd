"""Runs a tool that is a program: with a deadline, bounded output, and no child left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import IO

from speedtrap_probe.programs import winjob

OUTPUT_LIMIT = 1 << 20  # bytes kept of each stream, the last ones: results come at the end
CHUNK = 1 << 16
GRACE_S = 2.0
# The pipe's other end is held by the probe alone: it closes when the probe ends, also by kill -9.
GUARD = "import os; os.read(0, 1); os.killpg(0, 9)"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Output:
    """What a program said. `exit_code` is None when the deadline ended it."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes


def run(argv: Sequence[str], timeout_s: float, env: Mapping[str, str]) -> Output:
    """Runs *argv* to its end or its deadline; raises OSError when it cannot be started.

    The program is in a process group of its own, which is killed as a whole, also when this call
    is interrupted, and by its guard when this process is killed. On Windows it is a job object.
    """
    with (
        _guard() as guard,
        _job() as job,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            process_group=guard.pid if guard else None,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        ) as process,
    ):
        tails = [_Tail(stream) for stream in (process.stdout, process.stderr) if stream]
        exit_code: int | None = None
        try:
            if job is not None:
                _put(job, process)
            exit_code = process.wait(timeout_s)
            # A child that still holds the pipes is part of the tool: it shares the grace.
            _join(tails, GRACE_S)
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:
            _kill(guard, job)
            _join(tails, GRACE_S)
        return Output(exit_code, tails[0].text(), tails[1].text())


def environment(proxy: str | None, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The child's environment: no proxy unless asked for, no secret of ours, plain English."""
    env = {
        name: value
        for name, value in base.items()
        if name.lower() not in PROXY_VARIABLES and not name.startswith("SPEEDTRAP_")
    }
    if proxy is not None:
        env |= {"http_proxy": proxy, "https_proxy": proxy}
    return env | {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


@contextmanager
def _guard() -> Iterator["subprocess.Popen[bytes] | None"]:
    """Leads the tool's group, and ends it when the pipe to us closes: whatever ended us."""
    if sys.platform == "win32":
        yield None
    else:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        ) as guard:
            try:
                yield guard
            finally:
                guard.kill()


def _job() -> AbstractContextManager["winjob.Job | None"]:
    return winjob.job() if os.name == "nt" else nullcontext()


def _put(job: "winjob.Job", process: subprocess.Popen[bytes]) -> None:
    """Into the job, unless it has ended already; what cannot be put in is not left running."""
    try:
        job.take(int(getattr(process, "_handle")))  # noqa: B009 # Windows alone has it
    except OSError:
        if process.poll() is None:
            process.kill()
            raise


def _kill(guard: "subprocess.Popen[bytes] | None", job: "winjob.Job | None") -> None:
    """The whole tool, whatever it started."""
    if job is not None:
        job.end()
    elif guard is not None and sys.platform != "win32":
        try:
            os.killpg(guard.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # all of the group has ended (macOS answers EPERM for zombies)


def _join(tails: Sequence["_Tail"], timeout_s: float) -> None:
    for tail in tails:
        tail.join(timeout_s)


class _Tail(threading.Thread):
    """Reads a stream to its end and keeps the last of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        # A descriptor of its own: a child that left the group may hold the pipe open for longer
        # than the process object lives.
        self._fd = os.dup(stream.fileno())
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        try:
            while chunk := os.read(self._fd, CHUNK):
                self._kept += chunk
                del self._kept[:-OUTPUT_LIMIT]
        finally:
            os.close(self._fd)

    def text(self) -> bytes:
        return bytes(self._kept)
