"""graph and web as one process on one port, on a socket that the supervisor holds open.

Because the socket outlives this process, a client that comes while it restarts waits a moment
instead of being refused. Started as `python -m speedtrap_up.service --fd N`.
"""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NoReturn

import uvicorn
from pydantic import ValidationError
from pymongo.errors import PyMongoError
from speedtrap_graph import logs
from speedtrap_graph.app import create_app as create_graph
from speedtrap_graph.gc_tuning import look_seldom
from speedtrap_graph.http.patience import PatientHttp
from speedtrap_graph.http.socket import MOST_MESSAGE_BYTES, PatientSocket
from speedtrap_graph.settings import GraphSettings, LogSettings, StoreSettings
from speedtrap_graph.store.database import connect
from speedtrap_graph.store.migrations import HalfRestoredError, NewerDatabaseError, check_version
from speedtrap_web.app import create_app as create_web
from speedtrap_web.settings import LogSettings as WebLogSettings
from speedtrap_web.settings import WebSettings
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from speedtrap_up.hosts import KnownHosts
from speedtrap_up.visitors import FairShare

GRAPH_PATHS = frozenset(
    {"/graphql", "/healthz", "/readyz", "/metrics", "/export/runs.ndjson", "/export/runs.csv"}
)


def compose(graph: Starlette, web: Starlette) -> ASGIApp:
    """graph's own paths go to graph, everything else to web; both live as long as the process."""

    @asynccontextmanager
    async def both(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            state: dict[str, Any] = {}
            for app in (graph, web):
                own = await stack.enter_async_context(app.router.lifespan_context(app))
                state.update(own or {})
            yield state

    lifespan = Starlette(lifespan=both)

    async def until_gone(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        # Whoever hangs up while a body is read is no mistake of ours that needs a traceback.
        with suppress(ClientDisconnect):
            await app(scope, receive, send)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        elif scope["path"] in GRAPH_PATHS:
            await until_gone(graph, scope, receive, send)
        else:
            await until_gone(web, scope, receive, send)

    return dispatch


def _set_up_logs(graph: LogSettings, web: WebLogSettings) -> None:
    """One stream for both, so one format; each has its own level."""
    if graph.log_format != web.log_format:
        sys.stderr.write(
            "SPEEDTRAP_GRAPH_LOG_FORMAT and SPEEDTRAP_WEB_LOG_FORMAT must be the same here, where "
            "graph and web are one process; SPEEDTRAP_LOG_FORMAT is for all parts\n"
        )
        sys.exit(2)
    logs.set_up(graph.log_format, graph.log_level)
    logging.getLogger("speedtrap_web").setLevel(web.log_level)


def _look_at_the_database(settings: StoreSettings) -> None:
    """Ends with a sentence where no later start could use it."""

    async def look() -> None:
        store = connect(settings.uri, settings.database, settings.username, settings.password)
        try:
            await check_version(store.database)
        finally:
            await store.close()

    try:
        asyncio.run(look())
    except (HalfRestoredError, NewerDatabaseError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except PyMongoError:  # the start itself says so
        return


def _refuse(error: ValidationError) -> NoReturn:
    """Names each variable, but never its value: it may be a secret."""
    prefix = "SPEEDTRAP_WEB_" if error.title.startswith("Web") else "SPEEDTRAP_GRAPH_"
    for problem in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in problem["loc"]).upper()
        words = problem["msg"].removeprefix("Value error, ")
        sys.stderr.write(f"{prefix}{name}: {words}\n" if name else f"{words}\n")
    sys.exit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    descriptor: int = parser.parse_args().fd
    try:
        _set_up_logs(LogSettings(), WebLogSettings())
        settings = GraphSettings()
        web = WebSettings()
        both = FairShare(compose(create_graph(settings), create_web(web)))
        app = KnownHosts(both, web.allowed_host_names)
    except ValidationError as error:
        _refuse(error)
    _look_at_the_database(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Nobody stands in front: what a client says about its own address is not believed.
        proxy_headers=False,
        http=PatientHttp,
        ws=PatientSocket,
        ws_per_message_deflate=False,
        ws_max_size=min(settings.max_body_bytes, MOST_MESSAGE_BYTES),
        ws_ping_interval=settings.socket_patience_s,
        ws_ping_timeout=settings.socket_patience_s,
        timeout_graceful_shutdown=settings.longest_stop_s,
    )
    look_seldom()
    with socket.socket(fileno=descriptor) as listening:
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
