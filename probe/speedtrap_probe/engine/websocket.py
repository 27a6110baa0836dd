"""A WebSocket client (RFC 6455) as small and as cheap as a measurement needs it.

Binary payload is thrown away as it comes and never assembled; what we send as payload is random,
and random bytes under a fresh mask are random bytes: nothing has to be masked byte by byte.
"""

import base64
import hashlib
import secrets
import ssl
import struct
from collections.abc import Iterator
from http.client import HTTPException, parse_headers
from io import BytesIO
from urllib.parse import urlsplit

from speedtrap_probe.engine.link import DISCARD, READ_BYTES, USER_AGENT, check_status
from speedtrap_probe.engine.wire import READ_TIMEOUT_S, Target, Wire
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
NORMAL_CLOSURE = 1000
HEAD_LIMIT = 16_384  # bytes of the handshake's answer
TEXT_LIMIT = 1 << 20
SWITCHING_PROTOCOLS = 101


class WebSocket:
    """An open WebSocket, for one thread: TLS does not bear one that reads while another writes."""

    def __init__(self, target: Target, subprotocol: str) -> None:
        self.wire = Wire(target)
        self._target = target
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._said_goodbye = False
        self._ahead = b""
        try:
            self._shake_hands(subprotocol)
        except (OSError, HTTPException, ToolError):
            self.wire.close()
            raise

    def receive(self) -> Iterator[int | str]:
        """Payload as byte counts as it comes, texts whole; ends when the other side closes."""
        text: list[bytes] | None = None
        while True:
            first, second = self._exactly(2)
            kind, size = first & 0x0F, self._size(second)
            if kind in {BINARY, CONTINUATION} and text is None:
                yield from self._discarded(size)
            elif kind in {TEXT, CONTINUATION}:
                text = [*(text or []), self._exactly(self._bounded(size))]
                if first & FINAL:
                    yield b"".join(text).decode("utf-8", errors="replace")
                    text = None
            elif kind == PING:
                self._send(PONG, self._exactly(size))
            elif kind == CLOSE:
                self._exactly(size)
                self.say_goodbye()
                return
            else:
                self._exactly(self._bounded(size))

    def waiting(self) -> bool:
        """Something has come that `receive` can begin with. Does not wait for it."""
        if self._ahead:
            return True
        self.wire.socket.settimeout(0)
        try:
            self._ahead = self.wire.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self.wire.socket.settimeout(READ_TIMEOUT_S)
        return True

    def send_random(self, payload: bytes) -> None:
        """A binary message of random bytes, which these are on the wire under whatever mask."""
        header = self._header(BINARY, len(payload)) + secrets.token_bytes(4)
        self.wire.socket.sendall(header)
        self.wire.socket.sendall(payload)

    def say_goodbye(self) -> None:
        """The closing handshake's half that is ours."""
        if not self._said_goodbye:
            self._said_goodbye = True
            self._send(CLOSE, struct.pack("!H", NORMAL_CLOSURE))

    def close(self) -> None:
        self.wire.close()

    def _shake_hands(self, subprotocol: str) -> None:
        key = base64.b64encode(secrets.token_bytes(16))
        parts = urlsplit(self._target.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.wire.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n"
            f"User-Agent: {USER_AGENT}\r\n\r\n".encode("ascii")
        )
        answer = BytesIO(self._head())
        status_line = answer.readline().split(None, 2)
        if len(status_line) < 2 or not status_line[1].isdigit():
            raise HTTPException("no HTTP answer to the WebSocket handshake")
        status = int(status_line[1])
        if status != SWITCHING_PROTOCOLS:
            check_status(self._target, status)
            self._refuse(f"answered HTTP {status} instead of opening a WebSocket")
        headers = parse_headers(answer)
        # RFC 6455 asks for SHA-1 here; it proves that the other side speaks WebSocket, no more.
        expected = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        if headers.get("Sec-WebSocket-Accept") != expected.decode():
            self._refuse("does not speak WebSocket")
        if headers.get("Sec-WebSocket-Protocol") != subprotocol:
            self._refuse(f"does not speak {subprotocol}")

    def _head(self) -> bytes:
        """One byte at a time: nothing of the first frame may be taken with it."""
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
            if len(head) > HEAD_LIMIT:
                raise HTTPException("an endless answer to the WebSocket handshake")
        return bytes(head)

    def _refuse(self, what: str) -> None:
        raise ToolError(FailureKind.TOOL_FAILED, f"{self._target.host} {what}")

    def _size(self, second: int) -> int:
        if second & MASKED:
            self._refuse("masked a frame, which only clients may")
        size = second & 0x7F
        if size == 126:
            return int.from_bytes(self._exactly(2), "big")
        return int.from_bytes(self._exactly(8), "big") if size == 127 else size

    def _bounded(self, size: int) -> int:
        if size > TEXT_LIMIT:
            self._refuse(f"sent a text of {size:,} bytes")
        return size

    def _discarded(self, left: int) -> Iterator[int]:
        flags = DISCARD if self.wire.plain else 0
        while left:
            got = self.wire.socket.recv_into(self._buffer, min(left, READ_BYTES), flags)
            if not got:
                raise HTTPException("the WebSocket was cut")
            left -= got
            yield got

    def _exactly(self, size: int) -> bytes:
        got, self._ahead = self._ahead, b""
        while len(got) < size:
            more = self.wire.socket.recv(size - len(got))
            if not more:
                raise HTTPException("the WebSocket was cut")
            got += more
        return got

    def _send(self, kind: int, payload: bytes) -> None:
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.wire.socket.sendall(self._header(kind, len(payload)) + mask + masked)

    def _header(self, kind: int, size: int) -> bytes:
        if size < 126:
            return bytes((FINAL | kind, MASKED | size))
        if size < 1 << 16:
            return bytes((FINAL | kind, MASKED | 126)) + size.to_bytes(2, "big")
        return bytes((FINAL | kind, MASKED | 127)) + size.to_bytes(8, "big")
