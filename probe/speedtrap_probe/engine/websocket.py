"""A WebSocket client (RFC 6455) as small and as cheap as a measurement needs it.

Binary payload is thrown away as it comes and never assembled; what we send as payload is random,
and random bytes under a fresh mask are random bytes: nothing has to be masked byte by byte.
"""

import base64
import hashlib
import secrets
import ssl
import struct
import time
from collections.abc import Iterator
from http.client import HTTPException, parse_headers
from io import BytesIO
from typing import NoReturn
from urllib.parse import urlsplit

from speedtrap_probe.engine.answers import check_free, check_status
from speedtrap_probe.engine.connection.wire import READ_TIMEOUT_S, Target, Wire
from speedtrap_probe.engine.frames import (
    BINARY,
    CLOSE,
    FINAL,
    MASKED,
    PING,
    PONG,
    Control,
    Frames,
    Payload,
)
from speedtrap_probe.engine.link import DISCARD, READ_BYTES, USER_AGENT
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NORMAL_CLOSURE = 1000
HEAD_LIMIT = 16_384  # bytes of the handshake's answer
FRAME_BYTES = 4096  # of a read that looks for a frame; payload is read in greater pieces
READS_AT_ONCE = 16  # a server that sends without end must not keep us from sending
SWITCHING_PROTOCOLS = 101


class WebSocket:
    """An open WebSocket, for one thread: TLS does not bear one that reads while another writes."""

    def __init__(self, target: Target, subprotocol: str) -> None:
        check_free(target)
        self.wire = Wire(target)
        self.closed = False
        """The other side has said its goodbye."""
        self._target = target
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._frames = Frames()
        self._said_goodbye = False
        try:
            self._shake_hands(subprotocol)
        except (OSError, HTTPException, ToolError):
            self.wire.close()
            raise

    def receive(self) -> Iterator[int | str]:
        """Payload as byte counts as it comes, texts whole; ends when the other side closes."""
        while not self.closed:
            if self._frames.left:
                yield self._discarded()
            else:
                yield from self._heard(self._some())

    def waiting(self) -> Iterator[int | str]:
        """Like `receive`, but only what has come by now: it never waits, not even for a frame's
        end. What is being sent meanwhile is a measurement."""
        for _ in range(READS_AT_ONCE):
            if self.closed:
                return
            self.wire.socket.settimeout(0)
            try:
                data = self._some()
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            finally:
                self.wire.socket.settimeout(READ_TIMEOUT_S)
            yield from self._heard(data)

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
            check_status(self._target, status, parse_headers(answer))
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
        head, began_s = bytearray(), time.perf_counter()
        while not head.endswith(b"\r\n\r\n"):
            more = self.wire.socket.recv(1)
            if not more:
                raise HTTPException("no answer to the WebSocket handshake")
            head += more
            if time.perf_counter() - began_s > READ_TIMEOUT_S:
                raise TimeoutError
            if len(head) > HEAD_LIMIT:
                raise HTTPException("an endless answer to the WebSocket handshake")
        return bytes(head)

    def _refuse(self, what: str) -> NoReturn:
        raise ToolError(FailureKind.TOOL_FAILED, f"{self._target.host} {what}")

    def _heard(self, data: bytes) -> Iterator[int | str]:
        try:
            for event in self._frames.feed(data):
                if isinstance(event, Payload):
                    yield event.size
                elif isinstance(event, str):
                    yield event
                else:
                    self._control(event)
        except ValueError as error:
            self._refuse(str(error))

    def _control(self, event: Control) -> None:
        if event.kind == PING and not self._said_goodbye:
            self._send(PONG, event.payload)
        elif event.kind == CLOSE:
            self.closed = True
            self.say_goodbye()

    def _some(self) -> bytes:
        data = self.wire.socket.recv(FRAME_BYTES)
        if not data:
            raise HTTPException("the WebSocket was cut")
        return data

    def _discarded(self) -> int:
        flags = DISCARD if self.wire.plain else 0
        size = min(self._frames.left, READ_BYTES)
        got = self.wire.socket.recv_into(self._buffer, size, flags)
        if not got:
            raise HTTPException("the WebSocket was cut")
        self._frames.skip(got)
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
