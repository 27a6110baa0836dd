"""Bots that are killed and stopped by the dozen, each a process of its own.

    python -m tests.lab.forked ARGUMENT...     each line on stdin starts one; its id is the answer

The program is loaded once and forked for each, so that a new one costs no seconds. All end with
the end of stdin.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil


def main() -> None:
    from speedtrap_bots import serve  # noqa: F401, PLC0415 - loaded before the first fork
    from speedtrap_bots.cli import app  # noqa: PLC0415 - the same

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    children = []
    for _line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            try:
                app(sys.argv[1:])
            finally:
                os._exit(0)
        children.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Crew:
    """As many workers as there were at the start: whoever is killed is followed by another."""

    nursery: subprocess.Popen[str]
    stop_s: float
    killed: int = 0
    stopped: int = 0
    pids: list[int] = field(default_factory=list)
    _asleep: dict[int, threading.Timer] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def hire(self) -> None:
        with self._lock:
            assert self.nursery.stdin is not None
            assert self.nursery.stdout is not None
            self.nursery.stdin.write("\n")
            self.nursery.stdin.flush()
            self.pids.append(int(self.nursery.stdout.readline()))

    def disturb(self, pid: int, how: str) -> None:
        """ "killed" with SIGKILL, or "stopped" with SIGSTOP and woken after `stop_s`."""
        with self._lock:
            if pid not in self.pids:
                return
            if how == "killed":
                self.killed += 1
                self.pids.remove(pid)
                os.kill(pid, signal.SIGKILL)
                self.hire()
            elif pid not in self._asleep:
                self.stopped += 1
                os.kill(pid, signal.SIGSTOP)
                timer = threading.Timer(self.stop_s, self._wake, (pid,))
                timer.daemon = True
                self._asleep[pid] = timer
                timer.start()

    def disturb_client(self, port: int, how: str) -> None:
        """Whoever of them talks from the local *port*."""
        for pid in tuple(self.pids):
            with contextlib.suppress(psutil.Error):
                sockets = psutil.Process(pid).net_connections("tcp")
                if any(socket.laddr[1:] == (port,) for socket in sockets):
                    self.disturb(pid, how)
                    return

    def anybody_asleep(self) -> bool:
        with self._lock:
            return any(pid in self.pids for pid in self._asleep)

    def _wake(self, pid: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            self._asleep.pop(pid, None)
            os.kill(pid, signal.SIGCONT)

    def lost(self) -> list[int]:
        """Those who ended of their own accord, which none may."""
        return [pid for pid in self.pids if not psutil.pid_exists(pid)]


@contextmanager
def a_crew(
    size: int, *arguments: str, environment: Mapping[str, str], log: Path, stop_s: float
) -> Iterator[Crew]:
    """*size* workers, all `speedtrap bots` with *arguments*."""
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    with log.open("ab") as errors:
        nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.forked", *arguments],
            env={**clean, **environment},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    crew = Crew(nursery, stop_s)
    try:
        for _ in range(size):
            crew.hire()
        yield crew
    finally:
        nursery.communicate()


if __name__ == "__main__":
    main()
