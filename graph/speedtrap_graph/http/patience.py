"""HTTP as uvicorn speaks it, with an end to waiting and to reading: uvicorn itself waits for ever
for a request and for its answer to be taken, and reads heads and trailers of any length.
"""

import asyncio
from asyncio import TimerHandle, Transport
from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import WeakSet

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from speedtrap_graph.http.unpacking import BODY_WITHIN_S

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_ADDRESSES_KEPT = 10_000
_open: defaultdict[str, WeakSet[Transport]] = defaultdict(WeakSet)


class TooMuchError(Exception):
    """More than a request may have. The parser takes it for bad HTTP: 400, and the end."""


class LivingFlow(FlowControl):
    """uvloop raises where a connection that has gone is resumed; asyncio does nothing."""

    def resume_reading(self) -> None:
        if self._transport.is_closing():
            self.read_paused = False
        super().resume_reading()


class PatientHttp(HttpToolsProtocol):
    """Drops a connection whose request does not arrive in time, whose answer is not taken, or that
    is one too many.
    """

    head_within_s = 10.0
    """As the gateway has it: `client_header_timeout`."""
    body_within_s = BODY_WITHIN_S
    taken_within_s = 30.0
    """Of an answer at least something, as by `send_timeout`."""
    most_of_an_address: int | None = 200
    """Connections at a time, upgraded ones included; further ones are closed at once."""
    most_head_bytes = 65_536
    """Of a head, of trailers, and of what frames a body in pieces beyond the body's own size."""
    most_pipelined = 16
    """Requests that were sent before the one ahead of them was answered."""
    _waiting: TimerHandle | None = None
    _stalled: TimerHandle | None = None
    _beside_body = 0
    _answered: RequestResponseCycle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self.flow = LivingFlow(transport)
        if self.client is not None and not self._may_open(self.client[0]):
            transport.abort()
            return
        self._wait(self.head_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_stalling()
        self._leave_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            # asyncio may still hand over what had arrived.
            return
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > self.most_head_bytes:
            self._drop()
        elif self.transport.is_closing():
            self._leave_off()

    def on_message_begin(self) -> None:
        self._wait(self.head_within_s)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head > self.most_head_bytes or len(self.pipeline) >= self.most_pipelined:
            raise TooMuchError
        # Also where it asks for an upgrade: that is made when the message is complete.
        self._wait(self.body_within_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # Twice: a body in pieces may have framing as long as itself.
        self._beside_body -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        self._beside_body = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The other side is slow to take its answer: the clock starts."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        self._stop_stalling()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        # The socket looks after itself from here, its writing included.
        self._stop_waiting()
        self._stop_stalling()
        super().handle_websocket_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _drop(self) -> None:
        self._leave_off()
        self.transport.abort()

    def _leave_off(self) -> None:
        """uvicorn hears a moment later that a connection has gone, and tells only the request that
        came last. Another one would wait for ever, or write, where uvloop raises.
        """
        for cycle in filter(None, (self._answered, self.cycle)):
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

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

    def _look_again(self) -> None:
        left = self.transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._stalled = loop.call_later(self.taken_within_s, self._look_whether_taken, left)

    def _look_whether_taken(self, left_before: int) -> None:
        if self.transport.get_write_buffer_size() >= left_before:
            self._drop()
        else:
            self._look_again()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        self._waiting = loop.call_later(seconds, self._drop)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _stop_stalling(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class PatientHttpBehindGateway(PatientHttp):
    """All connections come from the gateway, which counts those of each address itself."""

    most_of_an_address = None
