"""An ndt7 server that does what M-Lab's does, and writes down every breach of the specification.

As its source has it: in both directions a measurement as text at random intervals of 25 to 625 ms
(TCPInfo and BBRInfo, no AppInfo), and after each a ping whose payload is a number; after ten
seconds a close. Its WebSockets are those of another implementation (`websockets`), which refuses
unmasked frames and broken framing by itself.
"""

import json
import random
import secrets
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import IPPROTO_TCP, SHUT_RDWR, socket
from urllib.parse import parse_qsl, urlsplit

if sys.platform == "linux":
    from socket import TCP_INFO

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("net.measurementlab.ndt.v7")
PATHS = ("/ndt/v7/download", "/ndt/v7/upload")
DURATION_S = 10.0
SMALLEST, LARGEST = 1 << 13, 1 << 24
SCALED = 1 << 20  # the largest that this server sends
QUERY_LIMIT = 4096
NORMAL_CLOSURE = 1000
INFO = struct.Struct("@68xI48xQQ12xI")  # tcpi_rtt, tcpi_bytes_acked, tcpi_bytes_received, min_rtt
HALF_A_PING = b"\x89\x13"  # its payload of 19 bytes never comes


@dataclass(frozen=True, slots=True)
class Habits:
    """How the server behaves. `duration_s`: when it closes by itself, if `hangs_up` without the
    closing handshake. `keeps_half_a_ping`: in uploads the end of a ping comes with the next text.
    """

    refuses: int | None = None
    retry_after: str | None = None
    duration_s: float = DURATION_S
    download_mbps: float | None = None  # sends no faster
    hangs_up: bool = False
    cuts_after_bytes: int | None = None
    sends_payload_in_uploads: bool = False
    keeps_half_a_ping: bool = False
    tells: str | None = None  # instead of measurements


@dataclass(slots=True)
class Ndt7Server:
    """What came, and what was wrong with it."""

    url: str
    habits: Habits
    breaches: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    pings: dict[str, list[threading.Event]] = field(
        default_factory=lambda: {path: [] for path in PATHS}
    )
    """Each is set when its pong has come."""
    received: int = 0

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the upgrade: the path, the subprotocol, the query."""
        parts = urlsplit(request.path)
        self.headers += [name for name, _value in request.headers.raw_items()]
        if self.habits.refuses is not None:
            answer = connection.respond(HTTPStatus(self.habits.refuses), "no")
            if self.habits.retry_after:
                answer.headers["Retry-After"] = self.habits.retry_after
            return answer
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
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(connection, path, over), daemon=True)
        teller.start()
        try:
            (self._send if path == PATHS[0] else self._take)(connection)
        except ConnectionClosed as closed:
            self._ended(path, closed)
        finally:
            over.set()
            teller.join()

    def _send(self, connection: ServerConnection) -> None:
        listener = threading.Thread(target=self._listen, args=(connection,), daemon=True)
        listener.start()
        began = time.monotonic()
        size, sent, payload = SMALLEST, 0, secrets.token_bytes(SCALED)
        while time.monotonic() - began < self.habits.duration_s:
            connection.send(payload[:size])
            sent += size
            if self.habits.download_mbps is not None:
                due_s = began + sent * 8 / 1e6 / self.habits.download_mbps
                time.sleep(max(0.0, due_s - time.monotonic()))
            if self.habits.cuts_after_bytes is not None and sent > self.habits.cuts_after_bytes:
                _hang_up(connection.socket)
                return
            if size < SCALED and sent >= 16 * size:
                size *= 2
        self._end(connection)
        connection.send("")  # raises how it ended

    def _take(self, connection: ServerConnection) -> None:
        # By a thread of its own: this one goes on reading, as a client that still sends needs it.
        timer = threading.Timer(self.habits.duration_s, self._end, [connection])
        timer.start()
        try:
            self._read(connection)
        finally:
            timer.cancel()

    def _end(self, connection: ServerConnection) -> None:
        if self.habits.hangs_up:
            _hang_up(connection.socket)
        else:
            connection.close()

    def _read(self, connection: ServerConnection) -> None:
        while True:
            message = connection.recv()
            if isinstance(message, str):
                json.loads(message)
                continue
            self.received += len(message)
            self._judge(len(message))
            if self.habits.sends_payload_in_uploads:
                connection.send(b"out of place")

    def _judge(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST or size & (size - 1):
            self.breaches.append(f"a message of {size} bytes")
        self.sizes.append(size)

    def _listen(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                if isinstance(connection.recv(), bytes):
                    self.breaches.append("payload during a download")

    def _tell(self, connection: ServerConnection, path: str, over: threading.Event) -> None:
        """A measurement and a ping, again and again, whatever the other threads wait for."""
        began = time.monotonic()
        with suppress(ConnectionClosed, OSError):
            while not over.wait(min(0.625, max(0.025, random.expovariate(4)))):
                connection.send(self.habits.tells or _measurement(connection, began))
                if self.habits.keeps_half_a_ping and path == PATHS[1]:
                    connection.socket.sendall(HALF_A_PING)
                    over.wait()  # whoever waits for the rest sends nothing meanwhile
                    return
                self.pings[path].append(connection.ping(str(time.time_ns())))

    def _ended(self, path: str, closed: ConnectionClosed) -> None:
        if closed.rcvd is None or closed.rcvd.code != NORMAL_CLOSURE:
            self.breaches.append(f"{path} ended without a closing handshake: {closed}")
        self.ended.append(path)


def _measurement(connection: ServerConnection, began: float) -> str:
    told: dict[str, object] = {
        "ConnectionInfo": {"Client": "192.0.2.7:1", "Server": "192.0.2.1:443", "UUID": "lab"}
    }
    if sys.platform == "linux":  # elsewhere M-Lab's server has neither
        info = connection.socket.getsockopt(IPPROTO_TCP, TCP_INFO, INFO.size)
        rtt_us, acked, received, min_rtt_us = INFO.unpack(info)
        elapsed_us = int((time.monotonic() - began) * 1e6)
        tcp = {"BytesAcked": acked, "BytesReceived": received, "RTT": rtt_us}
        told["TCPInfo"] = {"State": 1, **tcp, "MinRTT": min_rtt_us, "ElapsedTime": elapsed_us}
        told["BBRInfo"] = {"BW": 1, "MinRTT": min_rtt_us, "ElapsedTime": elapsed_us}
    return json.dumps(told)


def _hang_up(connection: socket) -> None:
    with suppress(OSError):
        connection.shutdown(SHUT_RDWR)


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
        close_timeout=60,  # a browser reads all that was sent before it answers a close
    ) as server:
        port = server.socket.getsockname()[1]
        judge.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield judge
        server.shutdown()
        thread.join()
