"""Opens a TCP connection by whichever address answers first (after RFC 8305)."""

import ctypes
import errno
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, cast

from speedtrap_probe.line.way import PlaceError, Way

NEXT_AFTER_S = 0.25  # RFC 8305, section 5: the next address need not wait for the one before
ADDRESSES = 8  # of one name; more would only keep a dead line busy
UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})

Found = tuple[Any, Any, int, str, Any]
"""As `getaddrinfo` tells it."""


def connect(found: Iterable[Found], way: Way, timeout_s: float) -> socket.socket:
    """The first that answers; raises OSError (TimeoutError when none did), or PlaceError."""
    race = _Race(way, time.monotonic() + timeout_s)
    try:
        winner = race.run(_in_turn(list(found))[:ADDRESSES])
    finally:
        race.close()
    winner.settimeout(timeout_s)
    return winner


class _Race:
    """Connections under way; `close` ends all but the winner."""

    def __init__(self, way: Way, ends_at: float) -> None:
        self._way = way
        self._ends_at = ends_at
        self._selector = selectors.DefaultSelector()
        self._last = OSError(errno.EHOSTUNREACH, "no address")

    def run(self, found: Sequence[Found]) -> socket.socket:
        for number, one in enumerate(found, 1):
            self._start(one)
            patience_s = NEXT_AFTER_S if number < len(found) else self._ends_at - time.monotonic()
            if winner := self._first(patience_s):
                return winner
        raise TimeoutError if self._selector.get_map() else self._last

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._drop(key.fileobj)
        self._selector.close()

    def _start(self, found: Found) -> None:
        family, kind, protocol, _name, address = found
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError as error:  # a system without IPv6
            self._last = error
            return
        self._selector.register(opened, selectors.EVENT_WRITE)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._way.take(opened)
            code = opened.connect_ex(address)
        except PlaceError:
            raise  # the other addresses would be asked from the same place
        except OSError as error:
            code, self._last = 0, error
            self._drop(opened)
        if code and code not in UNDER_WAY:
            self._last = _told(code)
            self._drop(opened)

    def _first(self, patience_s: float) -> socket.socket | None:
        """Who answers within *patience_s*; None when nobody does, or when all have failed."""
        until = min(time.monotonic() + patience_s, self._ends_at)
        while self._selector.get_map():
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                return None
            for key, _event in ready:
                opened = cast(socket.socket, key.fileobj)
                if not (code := opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    self._selector.unregister(opened)
                    return opened
                self._last = _told(code)
                self._drop(opened)
        return None

    def _drop(self, opened: Any) -> None:
        self._selector.unregister(opened)
        opened.close()


def _in_turn(found: list[Found]) -> list[Found]:
    """The families by turns, beginning with the one that the system puts first."""
    first = [one for one in found if one[0] == found[0][0]]
    other = [one for one in found if one[0] != found[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, other)) if one is not None]


def _told(code: int) -> OSError:
    """With the class that belongs to its number, such as ConnectionRefusedError."""
    if sys.platform == "win32":
        return OSError(code, ctypes.FormatError(code))  # os.strerror knows no Winsock errors
    else:  # noqa: RET505 - what follows a return is unreachable to mypy on Windows
        return OSError(code, os.strerror(code))
