"""Serves an ASGI application on a real socket, in a thread, for as long as a test needs it."""

import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn
from speedtrap_web.app import create_app
from speedtrap_web.settings import WebSettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.lab.mongo import free_port

START_TIMEOUT_S = 20


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The base URL at which *app* answers."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="error", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextlib.contextmanager
def served_page(graph_url: str, **changes: object) -> Iterator[str]:
    """The page alone, in front of the graph at *graph_url*."""
    values: dict[str, object] = {
        "graph_url": graph_url,
        "key": "the-page's-own-key",
        "session_secret": "x" * 40,
        **changes,
    }
    with served(create_app(WebSettings.model_validate(values))) as url:
        yield url


def a_graph_that_answers(status: int, body: object) -> Starlette:
    """Stands where graph should, and always says the same."""

    async def answer(_: Request) -> Response:
        return JSONResponse(body, status)

    return Starlette(routes=[Route("/graphql", answer, methods=["POST"])])
