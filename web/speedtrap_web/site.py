"""What every page needs: graph, sessions, words, templates. Made once, in the composition root."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from speedtrap_web.catalogue import Catalogue
from speedtrap_web.graph import Graph
from speedtrap_web.session import Session, Sessions, Throttle

PACKAGE = Path(__file__).parent
STATIC_DIR = PACKAGE / "static"
VENDOR_DIR = PACKAGE / "vendor"
TEMPLATES_DIR = PACKAGE / "templates"

REVALIDATE = "private, no-cache"
"""Pages may be kept, but must be asked for again each time (and are then often a 304)."""


@dataclass(frozen=True, slots=True)
class Site:
    graph: Graph
    sessions: Sessions
    throttle: Throttle
    catalogue: Catalogue
    templates: jinja2.Environment
    assets: str

    def session(self, request: Request) -> Session | None:
        return self.sessions.of(request)

    def page(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        """One rendered page, answered with 304 when the browser already has exactly it."""
        html = self.templates.get_template(template).render(
            **(context or {}),
            t=self.catalogue.text,
            plural=self.catalogue.plural,
            language=self.catalogue.language,
            assets=self.assets,
            session=self.session(request),
            path=_path_and_query(request),
            done=request.query_params.get("done"),
        )
        response = HTMLResponse(html, status)
        return revalidated(request, response)


def of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def now() -> datetime:
    return datetime.now(UTC)


def _path_and_query(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def revalidated(request: Request, response: Response) -> Response:
    """Gives *response* an ETag of its content; 304 if the browser holds the same."""
    response.headers["Cache-Control"] = REVALIDATE
    response.headers["Vary"] = "Cookie"
    if response.status_code != 200:
        response.headers["Cache-Control"] = "no-store"
        return response
    # Weak: compression on the way changes the bytes, not the meaning.
    tag = f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": REVALIDATE})
    return response


def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
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
