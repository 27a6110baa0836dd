"""Serves an ASGI application on a real socket, in a thread, for as long as a test needs it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self

import httpx
import uvicorn
from speedtrap_graph.app import create_app as create_graph
from speedtrap_graph.settings import GraphSettings
from speedtrap_web.app import create_app
from speedtrap_web.settings import WebSettings
from speedtrap_web.site import system_clock
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from speedtrap_up.service import compose
from tests.lab.mongo import free_port
from tests.lab.service import Service

START_TIMEOUT_S = 20


@dataclass
class HereService(Service):
    """graph and web in a thread of this process, where a fresh one costs little. One at a time:
    Beanie's documents are bound to one database.
    """

    running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        graph, web = (_of(self.settings, f"SPEEDTRAP_{part}_") for part in ("GRAPH", "WEB"))
        graph = {"requests_per_minute": "off", **graph}
        web = {"graph_url": self.base_url, **web}
        app = compose(
            create_graph(GraphSettings.model_validate(graph)),
            create_app(WebSettings.model_validate(web)),
        )
        self.running.enter_context(served(app, self.port))

    def kill(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.running.close()


def _of(settings: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in settings.items()
        if name.startswith(prefix)
    }


@contextlib.contextmanager
def served(app: ASGIApp, port: int | None = None) -> Iterator[str]:
    """The base URL at which *app* answers."""
    port = port or free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="critical", ws="none", timeout_graceful_shutdown=1)
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
def served_page(
    graph_url: str,
    clock: Callable[[], datetime] = system_clock,
    port: int | None = None,
    **changes: object,
) -> Iterator[str]:
    """The page alone, in front of the graph at *graph_url*."""
    values: dict[str, object] = {
        "graph_url": graph_url,
        "key": "the-page's-own-key",
        "session_secret": "x" * 40,
        **changes,
    }
    with served(create_app(WebSettings.model_validate(values), clock), port) as url:
        yield url


def a_graph_that_answers(status: int, body: object) -> Starlette:
    """Stands where graph should, and always says the same."""

    async def answer(_: Request) -> Response:
        return JSONResponse(body, status)

    return Starlette(routes=[Route("/graphql", answer, methods=["POST"])])


Mode = Literal["open", "away", "unready", "slow", "broken"]


@dataclass
class Passage:
    """The way to a real graph, which can be cut, clogged or poisoned while a page uses it.

    `unready` is what graph and the gateway say while they start, end or have too much to do. `key`
    is for a gateway on the way, which tells graph of callers and keeps their keys to itself.
    """

    target: str
    mode: Mode = "open"
    url: str = ""
    key: str = ""
    asked: list[str] = field(default_factory=list)
    """The names of the operations that passed."""

    @classmethod
    @contextlib.contextmanager
    def to(cls, target: str) -> Iterator[Self]:
        passage = cls(target)
        routes = [Route("/graphql", passage.carry, methods=["POST"])]
        with served(Starlette(routes=routes)) as passage.url:
            yield passage

    async def carry(self, request: Request) -> Response:
        if self.mode == "away":
            return Response(status_code=502)
        if self.mode == "unready":
            return JSONResponse({"error": {"code": "UNAVAILABLE", "message": "busy"}}, 503)
        if self.mode == "broken":
            failed = {"message": "inside, 4f2a", "extensions": {"code": "INTERNAL"}}
            return JSONResponse({"errors": [failed], "data": None})
        if self.mode == "slow":
            await asyncio.sleep(60)
        self.asked.append((await request.json())["operationName"])
        headers = {
            "X-API-Key": self.key or request.headers["x-api-key"],
            "Content-Type": request.headers["content-type"],
        }
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(
                f"{self.target}/graphql", content=await request.body(), headers=headers
            )
        return Response(answer.content, answer.status_code, media_type="application/json")
