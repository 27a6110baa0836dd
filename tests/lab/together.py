"""graph and web on one port, as `speedtrap up` serves them: `python -m tests.lab.together PORT`."""

import contextlib
import sys
from collections.abc import AsyncIterator

import uvicorn
from speedtrap_graph.app import create_app as create_graph
from speedtrap_graph.settings import GraphSettings
from speedtrap_web.app import create_app as create_web
from speedtrap_web.settings import WebSettings
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

GRAPH_PATHS = frozenset({"/graphql", "/healthz", "/readyz", "/metrics"})


class Together:
    """Sends graph's paths to graph, all others to web."""

    def __init__(self, graph: Starlette, web: Starlette) -> None:
        self.graph, self.web = graph, web
        self.lifespans: ASGIApp = Starlette(lifespan=self._both)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespans(scope, receive, send)
        elif scope["path"] in GRAPH_PATHS:
            await self.graph(scope, receive, send)
        else:
            await self.web(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _both(self, _: Starlette) -> AsyncIterator[None]:
        async with (
            self.graph.router.lifespan_context(self.graph),
            self.web.router.lifespan_context(self.web),
        ):
            yield


if __name__ == "__main__":
    uvicorn.run(
        Together(create_graph(GraphSettings()), create_web(WebSettings())),
        port=int(sys.argv[1]),
        ws="websockets-sansio",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
