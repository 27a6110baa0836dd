"""The WebSocket as uvicorn speaks it, and the end of one whose client has stopped taking data."""

from asyncio import BaseTransport, TimerHandle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

SERVICE_RESTART = 1012
"""The code of a close that means: come back, to this copy or another one (IANA's registry)."""
INVALID_DATA = 1007
MOST_MESSAGE_BYTES = 262_144
"""Queries and what they ask with; many runs go by HTTP. Each socket may have one unfinished."""
MOST_PIECES = 1_000
"""Of one message: a piece may be empty, and would be kept all the same."""
MOST_FRAMES = 500
"""At once, and a fifth of them a second: to parse what comes faster would take all the time."""
FRAMES_PER_S = MOST_FRAMES / 5
_SLICE_BYTES = 4_096
"""So much is parsed before it is seen whether to go on."""
HANDSHAKE_WITHIN_S = 10.0
_GOING = "speedtrap.going"
_POLICY = 1008
_TOO_BIG = 1009


def is_going(scope: Mapping[str, Any]) -> bool:
    """Whether this socket's end was announced because the process has been asked to end."""
    return _GOING in scope.get("extensions", ())


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class PatientSocket(WebSocketsSansIOProtocol):
    """Drops a stalled client after `ws_ping_timeout` seconds.

    uvicorn only ever closes, and closing waits for what has been written to be read: by a client
    that reads nothing, for ever. Aborting throws the rest away; the subscriber of that client then
    sees its connection lost. (The older default implementation besides cannot answer a refused
    handshake with a body.)
    """

    _stalled: TimerHandle | None = None
    _shaking_hands: TimerHandle | None = None
    _frames_left = float(MOST_FRAMES)
    _counted_at = 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._shaking_hands = self.loop.call_later(HANDSHAKE_WITHIN_S, self._give_up_handshake)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE_BYTES):
            if self.close_sent and self.transport.is_closing():
                return
            try:
                super().data_received(data[start : start + _SLICE_BYTES])
            except UnicodeError:
                # uvicorn takes a request's path for ASCII.
                self.logger.warning("Invalid WebSocket request received.")
                self.transport.abort()
                return
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # What the library refuses before it is a handshake, uvicorn neither tells nor closes.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MOST_PIECES:
            self._fail(_TOO_BIG)
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """uvicorn writes a traceback for text that is no UTF-8."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.logger.warning("Invalid WebSocket message received.")
            self._fail(INVALID_DATA)
        elif self._may_send():
            super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Not answered while the client takes no data: the answers would pile up."""
        if not self.writable.is_set():
            self.conn.data_to_send()
        elif self._may_send():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._may_send():
            super().handle_pong(event)

    async def send(self, message: "ASGISendEvent") -> None:
        """What the app says to one who is gone is nobody's mistake."""
        if self.close_sent and self.initial_response is None:
            raise ClientDisconnected
        await super().send(message)

    def _may_send(self) -> bool:
        now = self.loop.time()
        refilled = (now - self._counted_at) * FRAMES_PER_S
        self._frames_left = min(float(MOST_FRAMES), self._frames_left + refilled) - 1
        self._counted_at = now
        if self._frames_left < 0:
            self._fail(_POLICY)
        return self._frames_left >= 0

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is None:
            # Frames before the handshake was answered: there is no socket yet that could be closed.
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.close_sent = True
            self.transport.abort()
        else:
            super().handle_parser_exception()

    def _fail(self, code: int) -> None:
        if not self.close_sent:
            self.conn.fail(code)
            self.handle_parser_exception()

    def _give_up_handshake(self) -> None:
        if not self.handshake_complete:
            self.transport.abort()

    def shutdown(self) -> None:
        """The process is to end: the app is told, and closes when what it owes is answered.

        uvicorn closes at once, and a change that is being made is then never answered. How long
        the app may take is bounded by `timeout_graceful_shutdown`.
        """
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            super().shutdown()
            return
        self.stop_keepalive()
        self.scope["extensions"][_GOING] = {}
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART})

    def pause_writing(self) -> None:
        """The buffer is full: the clock starts."""
        super().pause_writing()
        if self.ping_timeout is not None:
            self._stalled = self.loop.call_later(self.ping_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stalling()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._shaking_hands is not None:
            self._shaking_hands.cancel()
        self.read_paused = False  # there is nothing left to resume
        self._stop_stalling()
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        """No pong: whether or not the buffer is full, nobody is there."""
        super().keepalive_timeout()
        self.loop.call_later(1.0, self.transport.abort)

    def _stop_stalling(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
