"""Connections that say nothing, or say it too slowly, do not shut others out of `speedtrap up`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from speedtrap_graph.http import patience
from speedtrap_graph.http.socket import PatientSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

SLOW: dict[str, list[bytes]] = {
    "nothing at all": [],
    "half a request line": [b"GET / HT"],
    "a head that drips": [b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 1000],
    "a body that drips": [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", *[b"x"] * 1000
    ],
    "a chunked body without an end": [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 1000
    ],
    "an upgrade with a body that drips": [
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Content-Length: 9999\r\n\r\n", *[b"x"] * 1000
    ],
    "a second request that drips": [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 1000
    ],
}  # fmt: skip


MUCH = 64 * 2**20
"""More than the buffers of loopback."""


class Impatient(patience.PatientHttp):
    head_within_s = body_within_s = taken_within_s = 0.3
    most_of_an_address = 20


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def slow(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110 - it tells no event
        await asyncio.sleep(0.02)
    return PlainTextResponse("late")


async def much(_: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MUCH >> 18):
            yield b"x" * (1 << 18)

    return StreamingResponse(pieces())


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    app = Starlette(
        routes=[
            Route("/", echo, methods=["GET", "POST"]),
            Route("/slow", slow),
            Route("/much", much),
        ]
    )
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        config = uvicorn.Config(
            app, http=Impatient, ws=PatientSocket, log_config=None, lifespan="off"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def hang_up_of(port: int, pieces: list[bytes]) -> bool:
    """Sends *pieces* slowly; whether the other side ends it before all of them are sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ended = asyncio.create_task(reader.read(-1))
    try:
        for piece in pieces:
            if ended.done():
                break
            writer.write(piece)
            await asyncio.wait({ended}, timeout=0.02)
        # Whoever was waited for has ended it; the others' test runs into its own time limit.
        with contextlib.suppress(ConnectionError):
            await ended
    finally:
        writer.close()
    return True


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "one header": (b"GET / HTTP/1.1\r\nX-A: ", b"x" * 8192),
    "headers": (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 1000),
    "a target": (b"GET /", b"x" * 8192),
    "a trailer": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"x" * 8192),
    "the extension of a chunk": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 8192
    ),
    "requests ahead of their answers": (b"", b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" * 20),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_has_no_end_is_not_read_to_one(what: str) -> None:
    first, piece = ENDLESS[what]
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof() and sent < 64 * 2**20:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(0)
        writer.close()
    assert sent < 64 * 2**20


async def test_an_answer_that_nobody_takes_is_dropped_and_one_taken_slowly_is_not() -> None:
    async with served() as port:
        stuck, writer = await asyncio.open_connection("127.0.0.1", port)
        stuck._transport.pause_reading()  # type: ignore[attr-defined] # private, and the point of it
        writer.write(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        slow, other = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        other.write(b"GET /much HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        size = 0
        while piece := await slow.read(1 << 18):
            size += len(piece)
            await asyncio.sleep(0.01)
        assert size > MUCH
        other.close()
        stuck._transport.resume_reading()  # type: ignore[attr-defined] # as above
        taken = 0
        with contextlib.suppress(ConnectionError):
            while piece := await stuck.read(1 << 18):
                taken += len(piece)
        assert taken < MUCH
        writer.close()


@pytest.mark.parametrize("what", SLOW)
async def test_a_request_that_does_not_arrive_in_time_is_dropped(what: str) -> None:
    async with served() as port:
        assert await hang_up_of(port, SLOW[what])


async def test_one_address_cannot_take_all_connections() -> None:
    async with served() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        # The last ten are closed at once, before anything is waited for.
        for reader, _ in held[20:]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
        for _, writer in held:
            writer.close()
        # Once those have gone, others are served.
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                if (await reader.read(-1)).endswith(b"\r\n\r\n0"):
                    break
            writer.close()
        writer.close()
