"""HTTP as uvicorn speaks it, with an end to waiting: uvicorn itself waits for ever for a request's
head and body, so that some hundred open connections that say nothing shut everybody else out.
"""

import asyncio
from asyncio import TimerHandle, Transport
from collections import defaultdict
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from speedtrap_graph.unpacking import BODY_WITHIN_S

_ADDRESSES_KEPT = 10_000
_open: defaultdict[str, WeakSet[Transport]] = defaultdict(WeakSet)


class PatientHttp(HttpToolsProtocol):
    """Drops a connection whose request does not arrive in time, or that is one too many."""

    head_within_s = 10.0
    """As the gateway has it: `client_header_timeout`."""
    body_within_s = BODY_WITHIN_S
    most_of_an_address = 200
    """Connections at a time, upgraded ones included; further ones are closed at once."""
    _waiting: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        if self.client is not None and not self._may_open(self.client[0]):
            transport.abort()
            return
        self._wait(self.head_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._wait(self.head_within_s)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # An upgrade ends HTTP here; what follows is the socket's own to watch.
        self._wait(None if self.parser.should_upgrade() else self.body_within_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_waiting()
        super().on_message_complete()

    def _may_open(self, address: str) -> bool:
        known = _open[address]
        if sum(not other.is_closing() for other in known) >= self.most_of_an_address:
            return False
        known.add(self.transport)
        if len(_open) > _ADDRESSES_KEPT:
            for gone in [name for name, transports in _open.items() if not transports]:
                del _open[gone]
        return True

    def _wait(self, seconds: float | None) -> None:
        self._stop_waiting()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
