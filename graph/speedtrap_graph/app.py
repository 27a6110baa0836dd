"""The composition root: settings in, an ASGI app out."""

import asyncio
import contextlib
import zoneinfo
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from pymongo.errors import PyMongoError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from speedtrap_graph.api.authentication import Gate
from speedtrap_graph.api.context import Services
from speedtrap_graph.api.export import ExportView
from speedtrap_graph.api.schema import GraphQLView
from speedtrap_graph.clock import system_clock
from speedtrap_graph.exporters import configured
from speedtrap_graph.http.callers import Callers, Gateway, KeyFile
from speedtrap_graph.http.quotas import Quotas, meter_tasks
from speedtrap_graph.http.trusted import read_documents
from speedtrap_graph.metrics.scrape import Scrape
from speedtrap_graph.metrics.view import MetricsView
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.notices.ledger import Ledger
from speedtrap_graph.services.notices.records import Terms
from speedtrap_graph.services.probes.key_uses import Sightings
from speedtrap_graph.services.probes.silence import SilenceWatch
from speedtrap_graph.services.read.browse import Browse
from speedtrap_graph.services.read.events import Events
from speedtrap_graph.services.read.runs_export import Format
from speedtrap_graph.services.upkeep.pump import Export
from speedtrap_graph.services.upkeep.roll_up import Rolling
from speedtrap_graph.services.upkeep.thin import Thinning
from speedtrap_graph.settings import GraphSettings
from speedtrap_graph.store.database import Store, connect, prepare


@dataclass
class _Running:
    """What lives between start and stop; nothing is connected before."""

    services: Services | None = None
    watcher: asyncio.Task[None] | None = None
    rolling: asyncio.Task[None] | None = None
    silences: asyncio.Task[None] | None = None
    sightings: asyncio.Task[None] | None = None
    thinning: asyncio.Task[None] | None = None
    exports: list[asyncio.Task[None]] = field(default_factory=list)
    scrape: Scrape | None = None

    def tasks(self) -> list[asyncio.Task[None] | None]:
        return [
            self.watcher,
            self.rolling,
            self.silences,
            self.sightings,
            self.thinning,
            *self.exports,
        ]

    def current(self) -> Services:
        if self.services is None:
            raise RuntimeError("the app was asked before its lifespan began")
        return self.services

    def figures(self) -> Scrape:
        if self.scrape is None:
            raise RuntimeError("the app was asked before its lifespan began")
        return self.scrape

    async def problem(self) -> str | None:
        if self.services is None or self.watcher is None or self.watcher.done():
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
    quotas, callers = Quotas(settings.quotas), _callers(settings)
    sightings = Sightings()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        meter_tasks(asyncio.get_running_loop())
        store = connect(settings.uri, settings.database, settings.username, settings.password)
        try:
            await prepare(store)
            running.services = _services(store, settings, callers)
            at_work = frozenset(exporter.name for exporter in exporters)
            running.scrape = _scrape(running.services, quotas, settings, at_work)
            running.watcher = asyncio.create_task(running.services.events.watch())
            running.rolling = asyncio.create_task(Rolling(store).forever())
            watch = SilenceWatch(store, system_clock, settings.silence_watch_s)
            running.silences = asyncio.create_task(watch.forever())
            thinning = Thinning(store, system_clock)
            running.thinning = asyncio.create_task(thinning.forever())
            running.sightings = asyncio.create_task(sightings.forever(store))
            running.exports = [
                asyncio.create_task(Export(store, exporter).forever()) for exporter in exporters
            ]
            yield
        finally:
            for task in filter(None, running.tasks()):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await store.close()

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        problem = await running.problem()
        if problem is None:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "problem": problem}, status_code=503)

    listed = settings.trusted_documents
    documents = None if listed is None else read_documents(listed)
    view = GraphQLView(running.current, settings.limits, quotas, documents)
    gate = Gate(view, callers, settings.max_body_bytes, quotas, sightings=sightings)
    exports = [
        Route(
            f"/export/runs.{form}",
            replace(gate, app=ExportView(running.current, form)),
            methods=["GET"],
        )
        for form in Format
    ]
    # A Mount would answer POST /graphql with 307 and refuse the WebSocket.
    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/graphql", gate),
            WebSocketRoute("/graphql", gate),
            *exports,
            Route("/metrics", _metrics(running.figures, gate), methods=["GET"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
    )


def _metrics(figures: Callable[[], Scrape], gate: Gate) -> ASGIApp:
    if isinstance(gate.callers, Gateway):
        return MetricsView(figures, gate.callers)
    return replace(gate, app=MetricsView(figures))


def _scrape(
    services: Services, quotas: Quotas, settings: GraphSettings, exporters: frozenset[str]
) -> Scrape:
    most, timeout_s = settings.metrics_probes, settings.metrics_timeout_s
    return Scrape(services, quotas, most, timeout_s, exporters)


def _callers(settings: GraphSettings) -> Callers:
    keys = None if settings.keys_file is None else KeyFile(settings.keys_file)
    if keys is None or settings.callers == "gateway":
        return Gateway(keys, settings.known_gateway_secret)
    return keys


def _services(store: Store, settings: GraphSettings, callers: Callers) -> Services:
    return Services(
        store=store,
        clock=system_clock,
        ingest=Ingest(store, system_clock),
        browse=Browse(store),
        plans=Plans(store, system_clock),
        ledger=Ledger(store, system_clock, _terms(settings)),
        events=Events(store),
        callers=callers,
    )


def _terms(settings: GraphSettings) -> Terms:
    return Terms(
        auto_approve=settings.auto_approve_channels,
        owner_channels=settings.owner_channel_names,
        claim_lease=timedelta(seconds=settings.claim_lease_seconds),
        sending_lease=timedelta(seconds=settings.sending_lease_seconds),
        check_after=timedelta(seconds=settings.check_after_seconds),
    )
