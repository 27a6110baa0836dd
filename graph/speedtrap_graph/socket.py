"""The WebSocket as uvicorn speaks it, and the end of one whose client has stopped taking data."""

from asyncio import TimerHandle
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SERVICE_RESTART = 1012
"""The code of a close that means: come back, to this copy or another one (IANA's registry)."""
INVALID_DATA = 1007
_GOING = "speedtrap.going"


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

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except UnicodeError:
            # uvicorn takes a request's path for ASCII.
            self.logger.warning("Invalid WebSocket request received.")
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """uvicorn writes a traceback for text that is no UTF-8."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.logger.warning("Invalid WebSocket message received.")
            self.conn.send_close(INVALID_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def pause_writing(self) -> None:
        """The buffer is full: the clock starts."""
        super().pause_writing()
        if self.ping_timeout is not None:
            self._stalled = self.loop.call_later(self.ping_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._take_heart()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._take_heart()
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        """No pong: whether or not the buffer is full, nobody is there."""
        super().keepalive_timeout()
        self.loop.call_later(1.0, self.transport.abort)

    def _take_heart(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
