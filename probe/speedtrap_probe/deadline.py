"""How long something may take in all, enforced from outside of what it does.

A socket's own timeout counts each read: a server that sends a byte now and then never exceeds it.
A deadline knows the sockets that are open, and a thread of its own ends them.
"""

import socket
import threading
import time
from contextlib import suppress


class Deadline:
    """A span of time that begins when it is first asked for, within that of *outer*.

    Without *within_s* it ends with *outer*, or when it is told to.
    """

    def __init__(self, within_s: float | None = None, outer: "Deadline | None" = None) -> None:
        self.within_s = within_s
        self._outer = outer
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._timer: threading.Timer | None = None
        self._ends_at: float | None = None
        self._ended = False

    def inner(self, within_s: float | None = None) -> "Deadline":
        """One that also ends when this one does."""
        return Deadline(within_s, self)

    def left_s(self) -> float:
        """Infinite where nothing limits it."""
        outer_s = self._outer.left_s() if self._outer is not None else float("inf")
        with self._lock:
            return 0.0 if self._ended else max(0.0, min(outer_s, self._own_s()))

    @property
    def passed(self) -> bool:
        return self.left_s() <= 0

    def take(self, opened: socket.socket) -> None:
        """From now on *opened* is ended with it. Raises TimeoutError when it is too late."""
        if self._outer is not None:
            self._outer.take(opened)
        with self._lock:
            late = self._ended or self._own_s() <= 0
            if not late:
                self._sockets.add(opened)
                self._start()
        if late:
            self.leave(opened)
            raise TimeoutError

    def leave(self, opened: socket.socket) -> None:
        """*opened* will be closed, or is somebody else's now."""
        with self._lock:
            self._sockets.discard(opened)
            if not self._sockets:
                self._cancel()
        if self._outer is not None:
            self._outer.leave(opened)

    def end(self) -> None:
        """Now: whatever waits for one of the sockets fails, and so does every later use."""
        with self._lock:
            self._ended = True
            self._cancel()
            opened, self._sockets = self._sockets, set()
        for one in opened:
            with suppress(OSError):  # closed already
                # Not SSLSocket's own, which drops the TLS state under the other thread.
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def end_within(self, seconds: float) -> None:
        """Sooner than it would have."""
        with self._lock:
            self._ends_at = time.monotonic() + min(seconds, self._own_s())
            self._cancel()
            if self._sockets:
                self._start()

    def _own_s(self) -> float:
        if self._ends_at is None:
            if self.within_s is None:
                return float("inf")
            self._ends_at = time.monotonic() + self.within_s
        return self._ends_at - time.monotonic()

    def _start(self) -> None:
        """A timer runs only while there is something to end, so that none is left behind."""
        left_s = self._own_s()
        if self._timer is None and left_s != float("inf"):
            self._timer = threading.Timer(max(0.0, left_s), self.end)
            self._timer.daemon = True
            self._timer.start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


UNLIMITED = Deadline()
"""Nobody set one."""
