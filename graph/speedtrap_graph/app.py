"""The composition root: settings in, an ASGI app out."""

import asyncio
import contextlib
import zoneinfo
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from pymongo.errors import PyMongoError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from speedtrap_graph.api.authentication import Authentication
from speedtrap_graph.api.export import ExportView
from speedtrap_graph.api.schema import GraphQLView
from speedtrap_graph.api.services import Services
from speedtrap_graph.background import Background, begin
from speedtrap_graph.composition import callers_of, documents_of, services_of
from speedtrap_graph.exporters import configured
from speedtrap_graph.http.callers import Gateway
from speedtrap_graph.http.quotas import Quotas, meter_tasks
from speedtrap_graph.metrics.scrape import Scrape
from speedtrap_graph.metrics.view import MetricsView
from speedtrap_graph.services.probes.key_uses import KeyUses
from speedtrap_graph.services.read.runs_export import Format
from speedtrap_graph.settings import GraphSettings
from speedtrap_graph.store.database import connect, prepare


@dataclass
class _Running:
    """What lives between start and stop; nothing is connected before."""

    services: Services | None = None
    background: Background | None = None
    scrape: Scrape | None = None

    def current(self) -> Services:
        if self.services is None:
            raise RuntimeError("the app was asked before its lifespan began")
        return self.services

    def figures(self) -> Scrape:
        if self.scrape is None:
            raise RuntimeError("the app was asked before its lifespan began")
        return self.scrape

    async def problem(self) -> str | None:
        if self.services is None or self.background is None or not self.background.is_watching:
            return "the events are not being watched"
        try:
            await asyncio.wait_for(self.services.store.ping(), timeout=3)
        except (PyMongoError, ConnectionError, TimeoutError):
            return "MongoDB does not answer"
        return None


def create_app(settings: GraphSettings) -> Starlette:
    """graph alone: `/graphql`, `/export/…`, `/metrics`, `/healthz`, `/readyz`. It connects when
    its lifespan begins.
    """
    # One table of time zones for all figures: tzdata's, not whatever this machine has.
    zoneinfo.reset_tzpath(to=())
    running = _Running()
    exporters = configured()
    quotas, callers = Quotas(settings.quotas), callers_of(settings)
    key_uses = KeyUses()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        meter_tasks(asyncio.get_running_loop())
        store = connect(settings.uri, settings.database, settings.username, settings.password)
        try:
            await prepare(store)
            running.services = services_of(store, settings, callers)
            at_work = frozenset(exporter.name for exporter in exporters)
            running.scrape = _scrape(running.services, quotas, settings, at_work)
            running.background = begin(running.services, settings, exporters, key_uses)
            yield
        finally:
            if running.background is not None:
                await running.background.end()
            await store.close()

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        problem = await running.problem()
        if problem is None:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "problem": problem}, status_code=503)

    view = GraphQLView(running.current, settings.limits, quotas, documents_of(settings))
    authentication = Authentication(
        view, callers, settings.max_body_bytes, quotas, key_uses=key_uses
    )
    exports = [
        Route(
            f"/export/runs.{form}",
            replace(authentication, app=ExportView(running.current, form)),
            methods=["GET"],
        )
        for form in Format
    ]
    # A Mount would answer POST /graphql with 307 and refuse the WebSocket.
    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/graphql", authentication),
            WebSocketRoute("/graphql", authentication),
            *exports,
            Route("/metrics", _metrics(running.figures, authentication), methods=["GET"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
    )


def _metrics(figures: Callable[[], Scrape], authentication: Authentication) -> ASGIApp:
    if isinstance(authentication.callers, Gateway):
        return MetricsView(figures, authentication.callers)
    return replace(authentication, app=MetricsView(figures))


def _scrape(
    services: Services, quotas: Quotas, settings: GraphSettings, exporters: frozenset[str]
) -> Scrape:
    most, timeout_s = settings.metrics_probes, settings.metrics_timeout_s
    return Scrape(services, quotas, most, timeout_s, exporters)
