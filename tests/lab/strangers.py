"""Strangers at the door of `speedtrap up`, each with one bad habit, until their input ends.

    python -m tests.lab.strangers PORT HABIT [KEY]

A process of its own: what they cost themselves is not to be taken for what they cost the service.
"""

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET %s HTTP/1.1\r\n" + HOST + b"%s\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n"
)
PIECE = b"x" * (1 << 16)
DRIP_S = 0.5
MANY = 150
"""Connections of most habits: below what one address may have, so that the habit is what counts."""

Pieces = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Way:
    """Where the door is, and the key of somebody with the least of all roles."""

    port: int
    key: str
    address: str = "127.0.0.3"


@asynccontextmanager
async def connected(
    way: Way, address: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", way.port, local_addr=(address or way.address, 0)
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def again(what: Callable[[], Coroutine[None, None, None]]) -> None:
    """For ever, whatever the other side does about it."""
    while True:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            await what()
        await asyncio.sleep(0.01)


async def together(count: int, what: Callable[[int], Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*(again(lambda number=number: what(number)) for number in range(count)))  # type: ignore[misc] # a default of a lambda has no type


def sends(pieces: Callable[[], Pieces], pause_s: float = 0.0, count: int = MANY) -> "Habit":
    """Connections that send *pieces* and read nothing, until they are thrown out."""

    async def habit(way: Way) -> None:
        async def one(_: int) -> None:
            async with connected(way) as (reader, writer):
                for piece in pieces():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
                await reader.read(1 << 16)
                while await reader.read(1 << 16):
                    pass

        await together(count, one)

    return habit


def never_reads(request: bytes, count: int = MANY) -> "Habit":
    async def habit(way: Way) -> None:
        async def one(_: int) -> None:
            async with connected(way) as (reader, writer):
                reader._transport.pause_reading()  # type: ignore[attr-defined] # private, and the point of it
                writer.write(request)
                await asyncio.sleep(3600)

        await together(count, one)

    return habit


def idle(addresses: int, each: int, before: bytes = b"") -> "Habit":
    async def habit(way: Way) -> None:
        async def one(number: int) -> None:
            address = f"127.0.1.{1 + number % addresses}"
            async with connected(way, address) as (reader, writer):
                writer.write(before)
                while await reader.read(1 << 16):
                    pass

        await together(addresses * each, one)

    return habit


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, length: int | None = None) -> bytes:
    """Masked with zeros, as the standard lets a client do; *length* may lie."""
    size = len(data) if length is None else length
    first = (0x80 if fin else 0) | opcode
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([first, 0x80 | 126]) + struct.pack("!H", size)
    else:
        head = bytes([first, 0x80 | 127]) + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + data


def on_a_socket(
    pieces: Callable[[], Pieces], *, reads: bool = True, begins: bool = True, count: int = MANY
) -> "Habit":
    """After a good handshake with a good key."""

    async def habit(way: Way) -> None:
        async def one(_: int) -> None:
            key = b"X-API-Key: " + way.key.encode() + b"\r\n"
            async with connected(way) as (reader, writer):
                writer.write(GET % (b"/graphql", UPGRADE + key))
                await reader.readuntil(b"\r\n\r\n")
                if begins:
                    writer.write(frame(1, b'{"type": "connection_init"}'))
                if not reads:
                    reader._transport.pause_reading()  # type: ignore[attr-defined] # as above
                for piece in pieces():
                    writer.write(piece)
                    await writer.drain()
                while await reader.read(1 << 16):
                    pass

        await together(count, one)

    return habit


def forever(first: bytes, piece: bytes = PIECE) -> Callable[[], Pieces]:
    def pieces() -> Pieces:
        yield first
        yield from cycle([piece])

    return pieces


def once(*pieces: bytes) -> Callable[[], Pieces]:
    return lambda: pieces


def drips(first: bytes, piece: bytes) -> "Habit":
    return sends(forever(first, piece), DRIP_S)


async def _reads_downloads(way: Way) -> None:
    async def one(_: int) -> None:
        async with connected(way) as (reader, writer):
            writer.write(GET % (b"/speed/garbage?ckSize=1024", b""))
            while await reader.read(1 << 20):
                pass

    await together(MANY, one)


async def _comes_and_goes(way: Way) -> None:
    async def one(_: int) -> None:
        async with connected(way):
            pass

    await together(50, one)


POST = b"POST %s HTTP/1.1\r\n" + HOST + b"%s\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LONG = b"Content-Length: 999999999\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://127.0.0.1\r\n"
UNKNOWN = b"X-API-Key: nobody-knows-this-key-of-forty-characters\r\n"
BODY = b'{"query": "{ me { name } }"}'
ASKS = UNKNOWN + b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
OVER = b"HTTP/1.1\r\n"
Habit = Callable[[Way], Coroutine[None, None, None]]

SLOW: dict[str, Habit] = {
    "connections without a word": sends(once()),
    "heads that drip": drips(b"GET / " + OVER, b"X-A: b\r\n"),
    "request lines that drip": drips(b"GET /", b"a"),
    "bodies that drip": drips(POST % (b"/graphql", LONG + UNKNOWN), b"x"),
    "forms that drip": drips(POST % (b"/login", LONG + FORM), b"x"),
    "chunks that drip": drips(POST % (b"/speed/empty", CHUNKED), b"1\r\nx\r\n"),
    "upgrades with a body that drips": drips(POST % (b"/graphql", UPGRADE + LONG), b"x"),
    "upgrades to nothing with a body that drips": drips(
        POST % (b"/", b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LONG), b"x"
    ),
    "a thousand idle connections": idle(1, 1000),
    "a thousand idle connections of ten addresses": idle(10, 100),
    "a thousand idle connections that were served": idle(10, 100, GET % (b"/readyz", b"")),
    "answers that nobody reads": never_reads(GET % (b"/speed/garbage?ckSize=1024", b"")),
    "pages that nobody reads": never_reads(GET % (b"/", b"") * 500),
}
MALFORMED: dict[str, Habit] = {
    "random bytes": sends(lambda: [os.urandom(4096)]),
    "a TLS greeting": sends(once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))),
    "a header without a colon": sends(once(b"GET / " + OVER + b"nonsense\r\n\r\n")),
    "two lengths": sends(once(POST % (b"/", b"Content-Length: 1\r\nContent-Length: 2\r\n"))),
    "a length and chunks": sends(once(POST % (b"/", LONG + CHUNKED))),
    "a chunk of no number": sends(once(POST % (b"/speed/empty", CHUNKED) + b"zz\r\n")),
    "a target that is none": sends(once(b"GET http://[ " + OVER + HOST + b"\r\n")),
    "a tunnel": sends(once(b"CONNECT example.org:443 " + OVER + HOST + b"\r\n")),
    "a path of no UTF-8": sends(once(GET % (b"/%ff%fe%00?%ff", b""))),
    "a header of no ASCII": sends(once(GET % (b"/", b"X-A: \xff\xfe\r\nCookie: \xff=\xfe\r\n"))),
    "HTTP of long ago": sends(once(b"GET /\r\n\r\n")),
    "HTTP/2 at once": sends(once(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    "a handshake without a key": sends(
        once(GET % (b"/graphql", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
    ),
    "a handshake with many headers": sends(
        once(GET % (b"/graphql", UPGRADE + b"".join(b"X-%d: y\r\n" % n for n in range(500))))
    ),
    "a handshake with a long header": sends(
        once(GET % (b"/graphql", UPGRADE + b"X-A: " + b"y" * 30_000 + b"\r\n"))
    ),
}
HUGE: dict[str, Habit] = {
    "a header without end": sends(forever(b"GET / " + OVER + b"X-A: "), count=20),
    "headers without end": sends(forever(b"GET / " + OVER, b"X-A: b\r\n" * 5000), count=20),
    "a target without end": sends(forever(b"GET /"), count=20),
    "a trailer without end": sends(
        forever(POST % (b"/speed/empty", CHUNKED) + b"0\r\nX-A: "), count=20
    ),
    "trailers without end": sends(
        forever(POST % (b"/speed/empty", CHUNKED) + b"0\r\n", b"X-A: b\r\n" * 5000), count=20
    ),
    "an extension of a chunk without end": sends(
        forever(POST % (b"/speed/empty", CHUNKED) + b"1;"), count=20
    ),
    "a form without end": sends(forever(POST % (b"/login", CHUNKED + FORM), b"a" * 8), count=20),
    "a body without end": sends(forever(POST % (b"/graphql", LONG + UNKNOWN)), count=20),
}
FLOODS: dict[str, Habit] = {
    "readyz": sends(forever(b"", GET % (b"/readyz", b""))),
    "pages": sends(forever(b"", GET % (b"/", b""))),
    "files that there are not": sends(forever(b"", GET % (b"/nothing", b""))),
    "figures": sends(forever(b"", GET % (b"/metrics", b""))),
    "unknown keys": sends(forever(b"", POST % (b"/graphql", ASKS) + BODY)),
    "pipelines": sends(forever(b"", GET % (b"/readyz", b"") * 5000), count=20),
    "pipelines of unknown keys": sends(
        forever(b"", (POST % (b"/graphql", ASKS) + BODY) * 2000), count=20
    ),
    "foreign hosts": sends(forever(b"", b"GET / " + OVER + b"Host: evil.example\r\n\r\n")),
    "foreign hosts on sockets": sends(
        once(GET % (b"/graphql", UPGRADE + b"Host: evil.example\r\n"))
    ),
    "sockets without a key": sends(once(GET % (b"/graphql", UPGRADE))),
    "sockets where there are none": sends(once(GET % (b"/", UPGRADE))),
    "logins": sends(
        forever(b"", POST % (b"/login", FORM + b"Content-Length: 9\r\n") + b"key=abcde")
    ),
    "downloads": _reads_downloads,
    "uploads": sends(forever(POST % (b"/speed/empty", b"Content-Length: 99999999999\r\n"))),
    "connections that come and go": _comes_and_goes,
}
TEXT = b'{"id": "1", "type": "subscribe", "payload": {"query": "' + b"a" * (1 << 20)
SOCKETS: dict[str, Habit] = {
    "text of no UTF-8": on_a_socket(once(frame(1, b"\xff\xfe"))),
    "bytes instead of text": on_a_socket(once(frame(2, b"\0" * 100))),
    "no JSON": on_a_socket(once(frame(1, b"{"))),
    "JSON that is no object": on_a_socket(once(frame(1, b"[" * 50_000))),
    "a type that there is not": on_a_socket(once(frame(1, b'{"type": "x"}'))),
    "a type that is no text": on_a_socket(once(frame(1, b'{"type": {}}'))),
    "a payload that is none": on_a_socket(
        once(frame(1, b'{"id": 1, "type": "subscribe", "payload": 7}'))
    ),
    "half a character": on_a_socket(
        once(frame(1, b'{"id": "\\ud800", "type": "subscribe", "payload": {"query": "\\ud800"}}'))
    ),
    "nothing after the handshake": on_a_socket(once(), begins=False),
    "frames before the handshake is answered": sends(
        once(GET % (b"/graphql", UPGRADE) + frame(5, b"x"))
    ),
    "an opcode that there is not": on_a_socket(once(frame(5, b"x"))),
    "a control frame that is too long": on_a_socket(once(frame(9, b"x" * 200))),
    "a frame that says it is endless": on_a_socket(once(frame(1, b"x", length=1 << 62))),
    "a message that never ends": on_a_socket(
        forever(frame(1, TEXT, fin=False), frame(0, b"a" * 60_000, fin=False)), count=50
    ),
    "messages that stop in the middle": on_a_socket(
        once(*[frame(1, TEXT, fin=False), *[frame(0, TEXT, fin=False)] * 6])
    ),
    "pieces of nothing": on_a_socket(
        forever(frame(1, b"a", fin=False), frame(0, b"", fin=False) * 5000), count=20
    ),
    "pings that nobody reads": on_a_socket(
        forever(b"", frame(9, b"x" * 120) * 500), reads=False, count=20
    ),
    "messages without a pause": on_a_socket(
        forever(b"", frame(1, b'{"type": "ping"}') * 500), count=20
    ),
    "queries without a pause": on_a_socket(
        forever(
            b"",
            frame(1, b'{"id": "1", "type": "subscribe", "payload": {"query": "{ me { nam } }"}}'),
        ),
        count=20,
    ),
    "a close that is none": on_a_socket(once(frame(8, b"\x00"))),
}
HABITS: dict[str, Habit] = {**SLOW, **MALFORMED, **HUGE, **FLOODS, **SOCKETS}


async def _until_input_ends(habit: Habit, way: Way) -> None:
    going = asyncio.ensure_future(habit(way))
    await asyncio.to_thread(sys.stdin.read)
    going.cancel()
    with suppress(asyncio.CancelledError):
        await going


def main() -> None:
    port, name, *key = sys.argv[1:]
    asyncio.run(_until_input_ends(HABITS[name], Way(int(port), "".join(key))))


if __name__ == "__main__":
    main()
