"""HTTP as uvicorn speaks it, with an end to waiting and to keeping: uvicorn itself waits for ever
for a request's head and body, so that some hundred open connections that say nothing shut everybody
else out; and it keeps a head, and requests that wait for their turn, whatever memory they take.
"""

import asyncio
from asyncio import TimerHandle, Transport
from collections import defaultdict
from typing import Any
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from speedtrap_graph.unpacking import BODY_WITHIN_S

_ADDRESSES_KEPT = 10_000
_open: defaultdict[str, WeakSet[Transport]] = defaultdict(WeakSet)


class PatientHttp(HttpToolsProtocol):
    """Drops a connection whose request does not arrive in time, or that is one too many."""

    head_within_s = 10.0
    """As the gateway has it: `client_header_timeout`."""
    body_within_s = BODY_WITHIN_S
    most_of_an_address: int | None = 200
    """Connections at a time, upgraded ones included; further ones are closed at once."""
    most_head_bytes = 65_536
    """Of a request's head, and of all that comes in a row and is no body: trailers, extensions."""
    most_pipelined = 16
    """Requests that wait for the one before them to be answered."""
    _waiting: TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _unfinished_bytes = 0
    _in_head = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        if self.client is not None and not self._may_open(self.client[0]):
            self._abort()
            return
        self._wait(self.head_within_s)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > self.most_head_bytes and not self.transport.is_closing():
            self.logger.warning("A request's head or trailer is too large.")
            if self._in_head:
                self.send_400_response("The request's head is too large.")
            else:
                self._abort()

    def send_400_response(self, msg: str) -> None:
        self._drop_answers()
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._drop_answers()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self.most_pipelined:
            raise ValueError("too many requests that wait")  # answered as one that is malformed
        self._in_head = True
        self._wait(self.head_within_s)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unfinished_bytes = 0
        # An upgrade ends HTTP here; what follows is the socket's own to watch.
        self._wait(None if self.parser.should_upgrade() else self.body_within_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        self._stop_waiting()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _abort(self) -> None:
        self._drop_answers()
        self.transport.abort()

    def _drop_answers(self) -> None:
        """uvicorn tells only the newest request that its connection is gone: the answer to another
        one would be written to it, which ends in a traceback.
        """
        self.pipeline.clear()
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _may_open(self, address: str) -> bool:
        if self.most_of_an_address is None:
            return True
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
            self._waiting = loop.call_later(seconds, self._abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class PatientHttpBehindGateway(PatientHttp):
    """All connections come from the gateway, which counts those of each address itself."""

    most_of_an_address = None
