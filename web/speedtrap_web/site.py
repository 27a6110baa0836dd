"""What every page needs: graph, sessions, words, templates. Made once, in the composition root."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from speedtrap_web.graphql.client import Graph
from speedtrap_web.http.freshness import Freshness
from speedtrap_web.http.last_known import KnownPage, LastKnown
from speedtrap_web.http.revisits import Made, Revisits
from speedtrap_web.http.session import Session, Sessions, Throttle
from speedtrap_web.http.shared_links import Links
from speedtrap_web.printing.pdf import Press
from speedtrap_web.text.bidi import visible
from speedtrap_web.text.catalogue import CATALOGUES, Catalogue, preferred
from speedtrap_web.views.words import Words

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
class PageState:
    """What graph calls the state that a page shows. `held` is the tag of the page that the browser
    holds, where it is known that the page would be made just so again.
    """

    changes: str
    held: str | None = None


def system_clock() -> datetime:
    return datetime.now(UTC)


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
    clock: Callable[[], datetime] = system_clock
    revisits: Revisits = field(default_factory=Revisits)
    kept: LastKnown = field(default_factory=LastKnown)
    press: Press = field(default_factory=Press)

    def session(self, request: Request) -> Session | None:
        return self.sessions.of(request)

    def catalogue(self, request: Request) -> Catalogue:
        """The reader's language."""
        return preferred(
            request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )

    def freshness(self, request: Request) -> Freshness:
        """The one moment at which all of this answer is made, and until when it holds."""
        if not hasattr(request.state, "freshness"):
            request.state.freshness = Freshness(self.clock())
        freshness: Freshness = request.state.freshness
        return freshness

    def words(self, request: Request, zone: tzinfo) -> Words:
        return Words(self.catalogue(request), zone, self.freshness(request))

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
        state: PageState | None = None,
    ) -> Response:
        """One rendered page, answered with 304 when the browser already has exactly it.

        A page with a *state* is made of graph's answers: it renews itself when they change, and is
        kept for the time in which graph is away.
        """
        html = self.render(request, template, context, state.changes if state else "")
        if state is not None and status == 200:
            self.kept.keep(self._key(request), KnownPage(html, self.freshness(request).now))
        return self.made(request, HTMLResponse(html, status), state)

    def made(self, request: Request, response: Response, state: PageState | None) -> Response:
        """*response*, or 304; with a *state*, the next visitor may be told without making it."""
        answer = revalidated(request, response)
        if state is not None and response.status_code == 200:
            freshness = self.freshness(request)
            made = Made(state.changes, answer.headers["ETag"], freshness.until)
            self.revisits.remember(self._key(request), made)
        return answer

    def last_good(self, request: Request) -> KnownPage | None:
        """The page as it was when graph last answered."""
        return self.kept.last(self._key(request))

    async def state(self, request: Request) -> PageState:
        """Asked before anything else: a page that is `held` need not be made."""
        changes = await self.changes()
        now = self.freshness(request).now
        tag = self.revisits.tag(self._key(request), changes, now)
        return PageState(changes, tag if tag is not None and has(request, tag) else None)

    async def changes(self) -> str:
        return str((await self.graph.ask("changes"))["changes"])

    def tag(self, request: Request, *parts: str) -> str:
        whole = "\0".join([self.assets, self._key(request), *parts])
        # Weak: compression on the way changes the bytes, not the meaning.
        return f'W/"{hashlib.sha256(whole.encode()).hexdigest()[:32]}"'

    def _key(self, request: Request) -> str:
        """All that two requests for one page may differ in; also by which name the page is called,
        because it tells that name in commands and links.
        """
        session = self.session(request)
        reader = session.name if session else ""
        language = self.catalogue(request).language
        return "\0".join([reader, language, base_url(request), path_and_query(request)])


def of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


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
