"""An upstream that tells what reached it: every header as it came, and how long the body was."""

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


def _headers(connection: HTTPConnection) -> list[list[str]]:
    return [[name.decode(), value.decode()] for name, value in connection.headers.raw]


async def tell(request: Request) -> JSONResponse:
    length = 0
    async for piece in request.stream():
        length += len(piece)
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "headers": _headers(request),
            "length": length,
        }
    )


async def tell_by_websocket(asker: WebSocket) -> None:
    await asker.accept()
    await asker.send_json({"headers": _headers(asker)})
    if asker.query_params.get("stay") is None:
        await asker.close()
    else:
        await asker.receive()


@asynccontextmanager
async def _nothing_to_prepare(_: Starlette) -> AsyncIterator[None]:
    yield


def create_echo_app() -> Starlette:
    methods = ["GET", "POST", "PUT", "DELETE"]
    return Starlette(
        routes=[
            WebSocketRoute("/{path:path}", tell_by_websocket),
            Route("/{path:path}", tell, methods=methods),
        ],
        lifespan=_nothing_to_prepare,
    )


@contextlib.contextmanager
def running_echo() -> Iterator[str]:
    """Its base URL. The socket listens before the server runs, so nobody has to wait for it."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_echo_app(),
            ws="websockets-sansio",
            log_level="warning",
            access_log=False,
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), name="echo")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
