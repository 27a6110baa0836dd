"""What every page needs: graph, sessions, words, templates. Made once, in the composition root."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from speedtrap_web.catalogue import CATALOGUES, Catalogue, preferred
from speedtrap_web.graph import Graph
from speedtrap_web.kept import Kept, KeptPage
from speedtrap_web.links import Links
from speedtrap_web.printing import Press
from speedtrap_web.session import Session, Sessions, Throttle
from speedtrap_web.visible import visible

PACKAGE = Path(__file__).parent
STATIC_DIR = PACKAGE / "static"
VENDOR_DIR = PACKAGE / "vendor"
TEMPLATES_DIR = PACKAGE / "templates"

REVALIDATE = "private, no-cache"
"""Pages may be kept, but must be asked for again each time (and are then often a 304)."""
VARY = "Cookie, Accept-Language"
STALE_PLACE = "<!--stale-->"
"""Where a kept page says that it is one."""
LANGUAGE_COOKIE = "speedtrap-language"


@dataclass(frozen=True, slots=True)
class Mark:
    """What graph calls the state that a page shows, and the page's ETag while that holds."""

    changes: str
    tag: str


@dataclass(frozen=True, slots=True)
class Site:
    graph: Graph
    sessions: Sessions
    throttle: Throttle
    links: Links
    templates: jinja2.Environment
    assets: str
    live_every_s: float
    provider_handle: str = ""
    explorer: bool = False
    kept: Kept = field(default_factory=Kept)
    press: Press = field(default_factory=Press)

    def session(self, request: Request) -> Session | None:
        return self.sessions.of(request)

    def catalogue(self, request: Request) -> Catalogue:
        """The reader's language."""
        return preferred(
            request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )

    def render(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any] | None = None,
        changes: str = "",
    ) -> str:
        catalogue = self.catalogue(request)
        path = path_and_query(request)
        return self.templates.get_template(template).render(
            **(context or {}),
            t=catalogue.text,
            plural=catalogue.plural,
            language=catalogue.language,
            languages=[
                (other.language, "/language?" + urlencode({"to": other.language, "next": path}))
                for other in CATALOGUES.values()
            ],
            assets=self.assets,
            session=self.session(request),
            changes=changes,
            here=request.url.path,
            live_every_s=self.live_every_s,
            explorer=self.explorer,
            done=request.query_params.get("done"),
        )

    def page(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any] | None = None,
        status: int = 200,
        *,
        mark: Mark | None = None,
    ) -> Response:
        """One rendered page, answered with 304 when the browser already has exactly it.

        A page with a *mark* is made of graph's answers: it renews itself when they change, and is
        kept for the time in which graph is away.
        """
        if mark is None:
            return revalidated(
                request, HTMLResponse(self.render(request, template, context), status)
            )
        html = self.render(request, template, context, mark.changes)
        if status == 200:
            self.kept.keep(self._key(request), KeptPage(html, now()))
        return revalidated(request, HTMLResponse(html, status), mark.tag)

    def last_good(self, request: Request) -> KeptPage | None:
        """The page as it was when graph last answered."""
        return self.kept.last(self._key(request))

    async def mark(self, request: Request) -> Mark:
        """The state of what this page shows; its tag is good for a minute at most, because pages
        tell the time ("12 minutes ago").
        """
        changes = await self.changes()
        return Mark(changes, self.tag(request, changes, f"{now():%Y-%m-%dT%H:%M}"))

    async def changes(self) -> str:
        return str((await self.graph.ask("changes"))["changes"])

    def tag(self, request: Request, *parts: str) -> str:
        whole = "\0".join([self.assets, self._key(request), *parts])
        # Weak: compression on the way changes the bytes, not the meaning.
        return f'W/"{hashlib.sha256(whole.encode()).hexdigest()[:32]}"'

    def _key(self, request: Request) -> str:
        session = self.session(request)
        reader = session.name if session else ""
        return "\0".join([reader, self.catalogue(request).language, path_and_query(request)])


def of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def now() -> datetime:
    return datetime.now(UTC)


def this_minute() -> datetime:
    """As long as a page's mark holds: within it, what is made of the same answers is the same."""
    return now().replace(second=0, microsecond=0)


def base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def path_and_query(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def has(request: Request, tag: str) -> bool:
    """Whether the browser holds what *tag* stands for."""
    return tag in request.headers.get("if-none-match", "")


def not_modified(tag: str) -> Response:
    headers = {"ETag": tag, "Cache-Control": REVALIDATE, "Vary": VARY}
    return Response(status_code=304, headers=headers)


def revalidated(request: Request, response: Response, tag: str | None = None) -> Response:
    """Gives *response* an ETag, of its content unless one is given; 304 if the browser has it."""
    response.headers["Cache-Control"] = REVALIDATE
    response.headers["Vary"] = VARY
    if response.status_code != 200:
        response.headers["Cache-Control"] = "no-store"
        return response
    if tag is None:
        tag = f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    return not_modified(tag) if has(request, tag) else response


def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,  # also the feed, which is no .html
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def assets_version() -> str:
    """A name for exactly these static files; it is part of their path, so they never go stale."""
    digest = hashlib.sha256()
    for folder in (STATIC_DIR, VENDOR_DIR):
        for file in sorted(folder.glob("*")):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
