# ruff: noqa: E501 - a request a line
"""What a stranger or a careless client sends leaves few lines in the log, however often it comes."""

import asyncio
import contextlib
import json
import struct
from collections.abc import Iterator

import pytest

from tests.lab.drills import mostly_drilled
from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service

TIMES = 250
AT_ONCE = 20
TIMES_A_SOCKET = 100
MOST_LOG_BYTES = 5_000

STRANGERS: dict[str, bytes] = {
    "no HTTP": b"not http\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "a path that is no UTF-8": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path of escapes that are no UTF-8": b"GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nX-A: " + b"b" * 400_000,
    "a path without end": b"GET /" + b"b" * 400_000,
    "a malformed chunk": b"POST /graphql HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "lengths that contradict each other": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "an upgrade to what there is not": b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a socket without a key": b"GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "a socket that is no handshake": b"GET /graphql HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a socket at a path that is no UTF-8": b"GET /\xff HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a socket of a negative version": b"GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: -1\r\nSec-WebSocket-Key: \xff\r\n\r\n",
    "many requests in one piece": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500,
}  # fmt: skip


def frame(data: bytes, opcode: int = 1, *, masked: bool = True, first: int = 0x80) -> bytes:
    length = struct.pack("!BBH", first | opcode, (0x80 if masked else 0) | 126, len(data))
    return length + (bytes(4) if masked else b"") + data


INIT = frame(b'{"type": "connection_init"}')


def message(**parts: object) -> bytes:
    return INIT + frame(json.dumps(parts).encode())


OF_A_KEY: dict[str, bytes] = {
    "text that is no UTF-8": frame(b"\xff\xfe"),
    "a frame without a mask": frame(b"{}", masked=False),
    "an opcode that there is not": frame(b"{}", opcode=5),
    "a frame larger than allowed": struct.pack("!BBQ", 0x81, 0xFF, 2**40) + bytes(4),
    "a continuation of nothing": frame(b"{}", opcode=0),
    "a close frame of one byte": frame(b"x", opcode=8),
    "bytes": frame(b"{}", opcode=2),
    "no JSON": frame(b"{"),
    "a number": frame(b"5"),
    "no type": frame(b"{}"),
    "a type that is a list": message(type=[]),
    "a type that is very long": message(type="x" * 30_000),
    "an operation without an id": message(type="subscribe", payload={"query": "{ me { name } }"}),
    "an id that is a list": message(type="subscribe", id=[], payload={"query": "{ me { name } }"}),
    "a payload that is a list": message(type="subscribe", id="1", payload=[]),
    "no payload": message(type="subscribe", id="1"),
    "no query": message(type="subscribe", id="1", payload={}),
    "a query that is a number": message(type="subscribe", id="1", payload={"query": 5}),
    "variables in a list": message(
        type="subscribe", id="1", payload={"query": "{ me { name } }", "variables": [1]}
    ),
    "a name that is a list": message(
        type="subscribe", id="1", payload={"query": "{ me { name } }", "operationName": []}
    ),
    "an operation before the greeting": INIT[:0] + message(type="complete", id="1")[len(INIT):],
    "two greetings": INIT + INIT,
    "a greeting with a list": message(type="connection_init", payload=[]),
    "an operation and a hang-up": message(
        type="subscribe", id="1", payload={"query": "subscription { runs { id } }"}
    ),
}  # fmt: skip


def handshake(service: Service) -> bytes:
    return (
        "GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: graphql-transport-ws\r\nX-API-Key: {service.keys['viewer']}\r\n\r\n"
    ).encode()


async def say(port: int, said: bytes) -> None:
    """Sends it, and hangs up once the other side has answered or has hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        writer.write(said)
        await reader.read(4096)
        writer.write_eof()
        while await reader.read(65_536):
            pass
    writer.close()


async def say_often(port: int, said: bytes, times: int) -> None:
    left = iter(range(times))

    async def keep_saying() -> None:
        for _ in left:
            async with asyncio.timeout(60):
                await say(port, said)

    await asyncio.gather(*(keep_saying() for _ in range(AT_ONCE)))


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("floods")
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, folder, with_web=True) as running,
    ):
        yield running


async def assert_little_is_written(service: Service, said: bytes, times: int) -> None:
    before = service.log.stat().st_size
    await say_often(service.port, said, times)
    written = service.log.read_bytes()[before:].decode()
    assert "Traceback" not in written, written[-3000:]
    assert len(written) < MOST_LOG_BYTES, written[-3000:]
    assert service.post("{ me { role } }") == {"data": {"me": {"role": "ADMIN"}}}


@pytest.mark.parametrize("what", mostly_drilled(STRANGERS, ["no HTTP"]))
async def test_what_a_stranger_sends_again_and_again_is_a_few_lines(
    service: Service, what: str
) -> None:
    await assert_little_is_written(service, STRANGERS[what], TIMES)


@pytest.mark.parametrize("what", mostly_drilled(OF_A_KEY, ["no JSON"]))
async def test_what_a_socket_says_again_and_again_is_a_few_lines(
    service: Service, what: str
) -> None:
    await assert_little_is_written(service, handshake(service) + OF_A_KEY[what], TIMES_A_SOCKET)
