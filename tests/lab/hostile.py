"""Servers that mean harm: for so many requests like any other, then by one bad habit, for ever.

All of them live in one event loop, in a thread of their own.
"""

import asyncio
import base64
import hashlib
import json
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Type: application/octet-stream\r\nContent-Length: 400000\r\n\r\n"
PIECE = random.Random(1).randbytes(1 << 16)
DOWNLOAD_BYTES = 25 << 20
DRIP_S = 0.02
ACCEPTING = 8  # turns of the loop between a connection and its handler
SERVER_TIMING = b'Server-Timing: "' + b'\\"' * 30_000 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection, and what was asked on it last."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chance: random.Random
    url: str
    head: bytes = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(DRIP_S)

    async def again(self, data: bytes, pause_s: float = 0.0) -> None:
        """For ever; a pause of 0 lets the others of this loop have their turn."""
        while True:
            await self.send(data)
            await asyncio.sleep(pause_s)

    async def open_websocket(self) -> None:
        key = _header(self.head, b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n"
            b"Sec-WebSocket-Protocol: net.measurementlab.ndt.v7\r\n\r\n"
        )


Habit = Callable[[Peer], Awaitable[None]]


def says(data: bytes, then: bytes = b"", pause_s: float = 0.0) -> Habit:
    """*data* once, then *then* again and again; nothing more where there is none."""

    async def habit(peer: Peer) -> None:
        await peer.send(data.replace(b"{url}", peer.url.encode()))
        if then:
            await peer.again(then, pause_s)
        await asyncio.Event().wait()

    return habit


def drips(data: bytes) -> Habit:
    async def habit(peer: Peer) -> None:
        while True:
            await peer.drip(data)

    return habit


def frames(data: bytes, then: bytes = b"", pause_s: float = 0.0) -> Habit:
    """The same on a WebSocket."""

    async def habit(peer: Peer) -> None:
        await peer.open_websocket()
        await says(data, then, pause_s)(peer)

    return habit


async def cuts(peer: Peer) -> None:
    """Somewhere in a good answer."""
    await peer.send((GOOD + PIECE)[: peer.chance.randrange(len(GOOD) + 1000)])


async def resets(peer: Peer) -> None:
    peer.writer.transport.abort()


async def babbles(peer: Peer) -> None:
    await peer.again(peer.chance.randbytes(1000))


async def leads_on(peer: Peer) -> None:
    """A chain of redirects without an end."""
    where = f"{peer.url}/{peer.chance.random()}"
    await peer.send(f"HTTP/1.1 302 F\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())


def _location(where: str) -> Habit:
    return says(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())


def _document(document: bytes) -> Habit:
    return says(OK + f"Content-Length: {len(document)}\r\n\r\n".encode() + document)


HTTP: dict[str, Habit] = {
    "says nothing": says(b""),
    "drips the status": drips(OK),
    "drips a header": drips(OK + b"X: " + b"a" * 1000),
    "drips the body": says(GOOD, b"x", DRIP_S),
    "drips 100 Continue": drips(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue for ever": says(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a header without end": says(OK + b"X: ", b"a" * 10_000),
    "headers without end": says(OK, b"X: y\r\n" * 1000),
    "a status without end": says(b"HTTP/1.1 200 ", b"a" * 10_000),
    "a length beyond measure": says(OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", PIECE),
    "a length of 5,000 digits": says(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", PIECE),
    "more than its length": says(OK + b"Content-Length: 5\r\n\r\n", PIECE),
    "less than its length": says(GOOD + PIECE),
    "a negative length": says(OK + b"Content-Length: -5\r\n\r\n", PIECE),
    "a length in words": says(OK + b"Content-Length: many\r\n\r\n", PIECE),
    "two lengths": says(OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n", PIECE),
    "a body without end": says(OK + b"\r\n", PIECE),
    "a text without end": says(OK + b"Content-Type: text/html\r\n\r\n", b"<p>" * 10_000),
    "chunks that lie": says(OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n", PIECE),
    "chunks of one byte": says(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 100),
    "chunks that are none": says(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
    "a chunk's size without end": says(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 9999),
    "a negative chunk": says(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", PIECE),
    "trailers without end": says(
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 1000
    ),
    "cuts": cuts,
    "resets": resets,
    "babbles": babbles,
    "leads on": leads_on,
    "leads to itself": _location("{url}/"),
    "leads to this machine": _location("http://localhost:1/"),
    "leads into this network": _location("http://192.168.0.1/"),
    "leads to no port": _location("http://127.0.0.1:99999/"),
    "leads to words": _location("javascript:" + "a" * 60_000),
    "leads nowhere": _location("http://[::1/"),
    "asks for an odd patience": says(
        b"HTTP/1.1 429 No\r\nRetry-After: Fri, 99 Zed 9999 99:99:99 X\r\nContent-Length: 0\r\n\r\n"
    ),
    "is timed by quotes": says(OK + SERVER_TIMING + b"Content-Length: 0\r\n\r\n"),
    "speaks HTTP/0.9": says(b"<html>", b"<p>"),
    "speaks HTTP/2": says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0"),
    "status 999": says(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
    "wants another password": says(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n"),
    "switches to nothing": says(b"HTTP/1.1 101 X\r\n\r\n", b"x", DRIP_S),
    "nested lists": _document(b"[" * 200_000),
    "a number of 4,000 digits": _document(b'{"targets": ' + b"9" * 4000 + b"}"),
    "a list of the like": _document(json.dumps([{"server": "//127.0.0.1:1/"}] * 9999).encode()),
    "a script of words": _document(b"<script src='" + b"app-" * 100_000),
}
WEBSOCKET: dict[str, Habit] = {
    "pings for ever": frames(b"", b"\x89\x7d" + b"p" * 125),
    "pongs nobody asked for": frames(b"", b"\x8a\x00" * 100),
    "drips a frame": frames(b"\x82\x7e\xff\xff", b"x", DRIP_S),
    "drips a text": frames(b"\x81\x7e\xff\xff", b"x", DRIP_S),
    "drips a frame's head": frames(b"\x82\x7f\0", b"", 0),
    "a frame beyond measure": frames(b"\x82\x7f" + b"\xff" * 8, PIECE),
    "a text beyond measure": frames(b"\x81\x7f" + b"\xff" * 8, PIECE),
    "texts without end": frames(b"", b"\x81\x02{}" * 1000),
    "a text in parts without end": frames(b"\x01\x02[[", b"\x00\x02[[" * 1000),
    "empty parts without end": frames(b"\x01\x00", b"\x00\x00" * 1000),
    "empty frames without end": frames(b"", b"\x82\x00" * 1000),
    "masked": frames(b"\x82\x81abcdx"),
    "an unknown kind": frames(b"\x83\x01x"),
    "a control frame too long": frames(b"\x89\x7e\xff\xff", PIECE),
    "a goodbye that drips": frames(b"\x88\x7d", b"x", DRIP_S),
    "a goodbye of one byte": frames(b"\x88\x01x", PIECE),
    "payload without end": frames(b"", b"\x82\x7f" + (1 << 16).to_bytes(8, "big") + PIECE),
    "opens and is silent": frames(b""),
    "numbers of 400 digits": frames(
        b"", b"\x81\x7e\x01\xaa" + b'{"TCPInfo": {"RTT": ' + b"9" * 404 + b"}}"
    ),
}
RAW: dict[str, Habit] = {
    "drips a handshake": drips(b"\x16\x03\x03\x40\x00" + b"a" * 100),
    "shakes no hands": says(b""),
    "babbles at the handshake": babbles,
    "alerts": says(b"\x15\x03\x03\x00\x02\x01\x00" * 10, b"\x15\x03\x03\x00\x02\x01\x00"),
}
"""Of a server whose address says TLS: from the first byte."""


def at(verb: bytes, habit: Habit) -> Habit:
    """A mail server like any other until it is told *verb*; `.` is the end of the message."""

    async def mail_server(peer: Peer) -> None:
        await peer.send(b"220 mx.isp.example ESMTP\r\n")
        in_message = False
        while line := await peer.reader.readline():
            said = line.strip().upper()
            if said[:4].strip() == verb and in_message == (verb == b"."):
                await habit(peer)
            if in_message and said == b".":
                in_message = False
            elif in_message:
                continue
            elif said.startswith(b"DATA"):
                in_message = True
                await peer.send(b"354 go on\r\n")
                continue
            await peer.send(b"250 2.0.0 OK\r\n")

    return mail_server


CONNACK = b"\x20\x02\x00\x00"
MQTT: dict[str, Habit] = {
    "takes no connection": says(b""),
    "takes it by drops": drips(CONNACK),
    "a packet beyond measure": says(b"\x20\xff\xff\xff\x7f", PIECE),
    "a length without end": says(b"\x20", b"\xff" * 1000),
    "messages without end": says(CONNACK, b"\x30\x05\x00\x01axx" * 1000),
    "a message beyond measure": says(CONNACK + b"\x30\xff\xff\xff\x7f\x00\x01a", PIECE),
    "acknowledges for ever": says(CONNACK, b"\x40\x02\x00\x01" * 1000),
    "acknowledges nothing": says(CONNACK),
    "answers pings for ever": says(CONNACK, b"\xd0\x00" * 1000),
    "refuses": says(b"\x20\x02\x00\x05"),
    "speaks HTTP to a client of MQTT": says(OK, PIECE),
    "babbles at MQTT": babbles,
}
"""Of a broker, from the first byte."""
LINES = b"250-PIPELINING\r\n" * 500
SMTP: dict[str, Habit] = {
    "never greets": says(b""),
    "greets by drops": drips(b"220 mx.isp.example"),
    "greets in lines without end": says(b"", b"220-welcome\r\n" * 500),
    "greets in one line without end": says(b"220 ", b"a" * 10_000),
    "speaks HTTP": says(OK, PIECE),
    "extensions without end": at(b"EHLO", says(b"", LINES)),
    "an extension without end": at(b"EHLO", says(b"250-", b"a" * 10_000)),
    "no end of replies": at(b"MAIL", says(b"", b"250 OK\r\n" * 500)),
    "a recipient by drops": at(b"RCPT", drips(b"250 2.1.5 OK")),
    "a recipient by bytes": at(b"RCPT", babbles),
    "never asks for the message": at(b"DATA", says(b"")),
    "asks for it without end": at(b"DATA", says(b"", b"354-go\r\n" * 500)),
    "no verdict": at(b".", says(b"")),
    "a verdict by drops": at(b".", drips(b"250 2.0.0")),
    "a verdict without end": at(b".", says(b"", LINES)),
    "a verdict in one line without end": at(b".", says(b"550 ", b"a" * 10_000)),
    "hangs up at the verdict": at(b".", resets),
}
"""Of a mail server, in clear text and from the first byte."""


@dataclass(slots=True)
class Hostile:
    """A running server: like any other for the first *after* requests."""

    habit: Habit
    after: int
    raw: bool
    chance: random.Random
    url: str = ""
    _asked: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.raw else 'http'}://127.0.0.1:{port}"

    async def stop(self) -> None:
        # Who has just come is accepted before: a server that is closed meanwhile forgets them.
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        peer = Peer(reader, writer, self.chance, self.url)
        try:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError):
                if self.raw:
                    await self.habit(peer)
                while True:
                    await self._answer(peer)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        asked = Peer(peer.reader, peer.writer, peer.chance, peer.url, head)
        self._asked += 1
        if self._asked > self.after:
            await self.habit(asked)
            raise EOFError
        await _politely(asked)


async def _politely(peer: Peer) -> None:
    """As the real ones: enough for every client to come further."""
    _method, path, *_ = peer.head.split(b" ", 2)
    left = int(_header(peer.head, b"content-length") or 0)
    while left:
        left -= len(await peer.reader.read(min(left, 1 << 16)))
    if b"sec-websocket" in peer.head.lower():
        await peer.open_websocket()
        await says(b"", b"\x82\x7f" + (1 << 16).to_bytes(8, "big") + PIECE, DRIP_S)(peer)
    if any(word in path for word in (b"garbage", b"100mb", b"range/0-2", b"bytes=2")):
        await peer.send(OK + f"Content-Length: {DOWNLOAD_BYTES}\r\n\r\n".encode())
        for _ in range(DOWNLOAD_BYTES // len(PIECE)):
            await peer.send(PIECE)
            await asyncio.sleep(0)
        return
    body = {
        b"/fast/": b'<script src="/app-1.js"></script>',
        b"/app-1.js": b'token:"abc"',
    }.get(path, b"")
    if path.startswith(b"/fast/api"):
        body = json.dumps({"targets": [{"url": f"{peer.url}/speedtest"}] * 3}).encode()
    await peer.send(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


@dataclass(slots=True)
class Den:
    """Where they live."""

    loop: asyncio.AbstractEventLoop

    @contextmanager
    def hostile(self, habit: Habit, after: int, seed: int, *, raw: bool) -> Iterator[Hostile]:
        server = Hostile(habit, after, raw, random.Random(seed))
        asyncio.run_coroutine_threadsafe(server.start(), self.loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), self.loop).result()


@contextmanager
def den() -> Iterator[Den]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Den(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
