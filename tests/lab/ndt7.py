"""An ndt7 server that follows M-Lab's specification and writes down every breach of it.

Its WebSockets are those of another implementation (`websockets`), which refuses unmasked frames
and broken framing by itself.
"""

import json
import secrets
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import IPPROTO_TCP, TCP_INFO
from urllib.parse import parse_qsl, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("net.measurementlab.ndt.v7")
PATHS = ("/ndt/v7/download", "/ndt/v7/upload")
MEASURED_EVERY_S = 0.25
DURATION_S = 10.0
SMALLEST, LARGEST = 1 << 13, 1 << 24
QUERY_LIMIT = 4096
NORMAL_CLOSURE = 1000
RTT = struct.Struct("@68xI")


@dataclass(frozen=True, slots=True)
class Habits:
    """How the server behaves. `duration_s`: when it closes a download by itself."""

    refuses: int | None = None
    duration_s: float = DURATION_S
    cuts_after_bytes: int | None = None
    sends_payload_in_uploads: bool = False
    tells: str | None = None  # instead of measurements


@dataclass(slots=True)
class Ndt7Server:
    """What came, and what was wrong with it."""

    url: str
    habits: Habits
    breaches: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the upgrade: the path, the subprotocol, the query."""
        parts = urlsplit(request.path)
        if self.habits.refuses is not None:
            return connection.respond(HTTPStatus(self.habits.refuses), "no")
        pairs = parse_qsl(parts.query, strict_parsing=bool(parts.query))
        names = [name for name, _value in pairs]
        wrong = [
            said
            for said, broken in (
                ("no such path", parts.path not in PATHS),
                ("no ndt7", request.headers.get("Sec-WebSocket-Protocol") != SUBPROTOCOL),
                ("a long query", len(parts.query) > QUERY_LIMIT),
                ("a name twice", len(set(names)) != len(names)),
                ("a server_ name", any(name.startswith("server_") for name in names)),
                ("no User-Agent", not request.headers.get("User-Agent")),
            )
            if broken
        ]
        self.queries.append(dict(pairs))
        if not wrong:
            return None
        self.breaches += wrong
        return connection.respond(HTTPStatus.BAD_REQUEST, ", ".join(wrong))

    def exchange(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = urlsplit(connection.request.path).path
        try:
            (self._send if path == PATHS[0] else self._take)(connection)
        except ConnectionClosed as closed:
            self._ended(path, closed)

    def _send(self, connection: ServerConnection) -> None:
        listener = threading.Thread(target=self._listen, args=(connection,), daemon=True)
        listener.start()
        began = told = time.monotonic()
        size, sent, payload = SMALLEST, 0, secrets.token_bytes(1 << 20)
        while time.monotonic() - began < self.habits.duration_s:
            connection.send(payload[:size])
            sent += size
            if self.habits.cuts_after_bytes is not None and sent > self.habits.cuts_after_bytes:
                connection.socket.close()
                return
            if size < len(payload) and sent >= 16 * size:
                size *= 2
            if time.monotonic() - told >= MEASURED_EVERY_S:
                told = time.monotonic()
                self._tell(connection, "download", sent, began)

    def _take(self, connection: ServerConnection) -> None:
        began = told = time.monotonic()
        received = 0
        while True:
            message = connection.recv()
            if isinstance(message, str):
                json.loads(message)
                continue
            received += len(message)
            self._judge(len(message))
            if self.habits.sends_payload_in_uploads:
                connection.send(b"out of place")
            if time.monotonic() - told >= MEASURED_EVERY_S:
                told = time.monotonic()
                self._tell(connection, "upload", received, began)

    def _judge(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST or size & (size - 1):
            self.breaches.append(f"a message of {size} bytes")
        self.sizes.append(size)

    def _listen(self, connection: ServerConnection) -> None:
        try:
            while True:
                if isinstance(connection.recv(), bytes):
                    self.breaches.append("payload during a download")
        except ConnectionClosed:
            return

    def _tell(
        self, connection: ServerConnection, test: str, moved_bytes: int, began: float
    ) -> None:
        info = connection.socket.getsockopt(IPPROTO_TCP, TCP_INFO, RTT.size)
        rtt_us = RTT.unpack(info)[0]
        elapsed_us = int((time.monotonic() - began) * 1e6)
        measurement = {
            "AppInfo": {"ElapsedTime": elapsed_us, "NumBytes": moved_bytes},
            "ConnectionInfo": {"Client": "192.0.2.7:1", "Server": "192.0.2.1:443", "UUID": "lab"},
            "Origin": "server",
            "Test": test,
            "TCPInfo": {"ElapsedTime": elapsed_us, "RTT": rtt_us, "MinRTT": rtt_us},
        }
        connection.send(self.habits.tells or json.dumps(measurement))

    def _ended(self, path: str, closed: ConnectionClosed) -> None:
        if closed.rcvd is None or closed.rcvd.code != NORMAL_CLOSURE:
            self.breaches.append(f"{path} ended without a closing handshake: {closed}")
        self.ended.append(path)


@contextmanager
def ndt7_server(
    habits: Habits = Habits(), tls: ssl.SSLContext | None = None
) -> Iterator[Ndt7Server]:
    """A running server on a free port of the loopback."""
    judge = Ndt7Server("", habits)
    with serve(
        judge.exchange,
        "127.0.0.1",
        0,
        ssl=tls,
        subprotocols=[SUBPROTOCOL],
        process_request=judge.check,
        compression=None,
        max_size=None,
        ping_interval=None,
    ) as server:
        port = server.socket.getsockname()[1]
        judge.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield judge
        server.shutdown()
        thread.join()
