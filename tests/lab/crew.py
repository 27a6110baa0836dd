"""Workers that are killed and stopped all the time, and followed by others."""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.lab.nursery import Nursery


@dataclass
class Crew:
    """As many workers as there were at the start: whoever is killed is followed by another."""

    nursery: Nursery
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_s: float
    killed: int = 0
    stopped: int = 0
    pids: list[int] = field(default_factory=list)
    _asleep: dict[int, threading.Timer] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def hire(self, workers: int = 1) -> None:
        with self._lock:
            for _ in range(workers):
                pid = self.nursery.start(
                    *self.arguments,
                    environment=self.environment,
                    stdout=self.log,
                    stderr=self.log,
                )
                self.pids.append(pid)

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

    def lost(self) -> list[int]:
        """Those who ended of their own accord, which none may."""
        return [pid for pid in self.pids if self.nursery.ended(pid) is not None]

    def _wake(self, pid: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            self._asleep.pop(pid, None)
            os.kill(pid, signal.SIGCONT)
