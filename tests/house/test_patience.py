"""Connections that say nothing, or say it too slowly, do not shut others out of `speedtrap up`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from speedtrap_graph import patience
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
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
    "a second request that drips": [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 1000
    ],
}  # fmt: skip


class Impatient(patience.PatientHttp):
    head_within_s = body_within_s = 0.3
    most_of_an_address = 20


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        config = uvicorn.Config(app, http=Impatient, log_config=None, lifespan="off")
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
