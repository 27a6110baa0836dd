"""WebSocket frames (RFC 6455) out of bytes as they come. Pure: nothing here ever waits."""

from collections.abc import Iterator
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KINDS = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
FINAL, MASKED = 0x80, 0x80
TEXT_LIMIT = 1 << 16  # bytes, all parts together; a measurement of ndt7's has 2 kB
CONTROL_LIMIT = 125  # section 5.5


@dataclass(frozen=True, slots=True)
class Payload:
    """So many bytes of a binary message have come."""

    size: int


@dataclass(frozen=True, slots=True)
class Control:
    """A ping, a pong or a close, with what it carries."""

    kind: int
    payload: bytes


Event = Payload | str | Control


class Frames:
    """The server's side of one connection."""

    def __init__(self) -> None:
        self.left = 0
        """Bytes of the binary frame under way that are still to come."""
        self._buffer = bytearray()
        self._text: bytearray | None = None

    def skip(self, size: int) -> None:
        """So much of what was `left` has been taken from the connection by other means."""
        self.left -= size

    def feed(self, data: bytes) -> Iterator[Event]:
        """What is complete by now; raises ValueError, whose text says what the server did."""
        self._buffer += data
        while True:
            if size := min(self.left, len(self._buffer)):
                del self._buffer[:size]
                self.left -= size
                yield Payload(size)
            frame = None if self.left else self._frame()
            if frame is None:
                return
            event = self._event(*frame)
            if event is not None:
                yield event

    def _frame(self) -> tuple[int, bytes] | None:
        """First byte and payload; of a binary frame the payload comes as `left`."""
        if len(self._buffer) < 2:
            return None
        first, second = self._buffer[0], self._buffer[1]
        if second & MASKED:
            raise ValueError("masked a frame, which only clients may")
        width = {126: 2, 127: 8}.get(second, 0)
        start = 2 + width
        if len(self._buffer) < start:
            return None
        size = int.from_bytes(self._buffer[2:start], "big") if width else second
        if self._is_payload(first & 0x0F):
            del self._buffer[:start]
            self.left = size
            return first, b""
        self._check(first & 0x0F, size)
        if len(self._buffer) < start + size:
            return None
        payload = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return first, payload

    def _is_payload(self, kind: int) -> bool:
        return kind == BINARY or (kind == CONTINUATION and self._text is None)

    def _check(self, kind: int, size: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"sent a frame of the unknown kind {kind}")
        if kind >= CLOSE and size > CONTROL_LIMIT:
            raise ValueError(f"sent a control frame of {size:,} bytes")
        if kind < CLOSE and len(self._text or b"") + size > TEXT_LIMIT:
            raise ValueError(f"sent a text of more than {TEXT_LIMIT:,} bytes")

    def _event(self, first: int, payload: bytes) -> Event | None:
        kind = first & 0x0F
        if kind >= CLOSE:
            return Control(kind, payload)
        if self._is_payload(kind):
            return None
        self._text = (self._text or bytearray()) + payload
        if not first & FINAL:
            return None
        text, self._text = self._text.decode("utf-8", errors="replace"), None
        return text
