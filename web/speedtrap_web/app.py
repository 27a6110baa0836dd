"""The composition root: one Starlette application from one set of settings."""

import os
import zoneinfo
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette_compress import CompressMiddleware

from speedtrap_web import pages
from speedtrap_web import site as web
from speedtrap_web.graphql.bounded import bounded
from speedtrap_web.graphql.client import Graph
from speedtrap_web.http.ended_sessions import EndedSessions
from speedtrap_web.http.security import SameOriginOnly, SecurityHeaders
from speedtrap_web.http.session import Sessions, Throttle
from speedtrap_web.http.shared_links import Links
from speedtrap_web.http.speed import create_speed_app
from speedtrap_web.pages import errors, explorer
from speedtrap_web.settings import WebSettings

IDLE_AT_MOST_S = 2.0


class Assets(StaticFiles):
    """Files whose path names their version: a browser needs to ask for each only once."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def create_app(
    settings: WebSettings, clock: Callable[[], datetime] = web.system_clock
) -> Starlette:
    """The page, and `/speed/` beside it, which needs none of the page's machinery."""
    # The table of time zones that graph judges by: tzdata's, not whatever this machine has.
    zoneinfo.reset_tzpath(to=())
    site_app = _site_app(settings, clock)
    routes: list[BaseRoute] = []
    if settings.speed_endpoint:
        routes.append(Mount("/speed", create_speed_app()))
    routes.append(Mount("/", site_app))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # A mounted application's own lifespan is never run: its parent runs it.
        async with site_app.router.lifespan_context(site_app):
            yield

    return Starlette(routes=routes, lifespan=lifespan)


def _site_app(settings: WebSettings, clock: Callable[[], datetime]) -> Starlette:
    assets = web.assets_version()
    secret = settings.session_secret_or_random()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        timeout = httpx.Timeout(settings.graph_timeout_s)
        # graph closes a connection that rests for 5 s: we must not ask on it just then.
        limits = httpx.Limits(keepalive_expiry=IDLE_AT_MOST_S)
        # Settings say where graph is; a proxy of the environment must not see its keys.
        async with httpx.AsyncClient(
            timeout=timeout, limits=limits, trust_env=False, event_hooks=bounded()
        ) as client:
            app.state.site = web.Site(
                graph=Graph(
                    client,
                    settings.graph_url,
                    settings.key.get_secret_value(),
                    settings.graph_timeout_s,
                ),
                sessions=Sessions(secret, EndedSessions(settings.ended_sessions_file)),
                throttle=Throttle(),
                links=Links(secret),
                templates=web.environment(),
                assets=f"/assets/{assets}",
                live_every_s=settings.live_every_s,
                provider_handle=settings.provider_handle,
                explorer=settings.explorer,
                clock=clock,
            )
            yield

    return Starlette(
        routes=[*(explorer.OPTIONAL_ROUTES if settings.explorer else ()), *_routes(assets)],
        lifespan=lifespan,
        exception_handlers=errors.HANDLERS,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(SameOriginOnly),
            Middleware(CompressMiddleware),
        ],
    )


def _routes(assets: str) -> list[BaseRoute]:
    return [
        *pages.routes(),
        Route("/robots.txt", robots),
        Mount(f"/assets/{assets}/vendor", Assets(directory=web.VENDOR_DIR, check_dir=False)),
        Mount(f"/assets/{assets}", Assets(directory=web.STATIC_DIR)),
    ]


async def robots(_: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")
