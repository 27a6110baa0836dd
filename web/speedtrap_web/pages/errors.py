"""What a reader sees when something does not work: never a traceback, always what it means."""

from collections.abc import Mapping
from typing import cast

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ExceptionHandler

from speedtrap_web import site as web
from speedtrap_web.graphql.client import (
    BadVariableError,
    GraphAwayError,
    KeyRefusedError,
    RefusedError,
)
from speedtrap_web.pages.login import to_login
from speedtrap_web.printing.pdf import PrintingError

RETRY_AFTER_S = 10


def _is_question(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/explorer/"))


def _answer(
    request: Request,
    status: int,
    code: str,
    key: str,
    hints: Mapping[str, object] | None = None,
    **values: str,
) -> Response:
    """For a script JSON, with *hints*; for a person a page."""
    site = web.of(request)
    title = site.catalogue(request).text(f"error.{key}.title")
    text = site.catalogue(request).text(f"error.{key}.text", **values)
    response: Response
    if _is_question(request):
        message = f"{title} {text}"
        error = {"code": code, "message": message, **(hints or {})}
        response = JSONResponse({"error": error}, status)
    else:
        context = {"title": title, "text": text, "retry": status == 503}
        response = site.page(request, "error.html", context, status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


async def graph_away(request: Request, problem: Exception) -> Response:
    away = cast(GraphAwayError, problem)
    words = web.of(request).catalogue(request)
    reason = words.text(f"away.{away.kind}", detail=away.detail)
    stale = _last_good(request)
    return stale or _answer(request, 503, "UNAVAILABLE", "away", reason=reason)


def _last_good(request: Request) -> Response | None:
    """What this page showed when graph last answered, with its age on it."""
    site = web.of(request)
    page = site.last_good(request) if request.method == "GET" else None
    if page is None:
        return None
    age = site.clock() - page.at
    words = site.catalogue(request)
    context = {"age": words.ago(age)}
    banner = site.render(request, "_stale.html", context)
    html = page.html.replace(web.STALE_PLACE, banner, 1)
    headers = {"Age": str(int(age.total_seconds())), "Cache-Control": "no-store"}
    return HTMLResponse(html, headers=headers)


async def strange_answer(request: Request, _: Exception) -> Response:
    """Graph answered in a shape that this page does not know: another version, most likely."""
    reason = web.of(request).catalogue(request).text("away.shape")
    return _answer(request, 503, "UNAVAILABLE", "away", reason=reason)


async def key_refused(request: Request, _: Exception) -> Response:
    """A session whose key no longer holds ends here; else it is the page's own key."""
    site = web.of(request)
    if site.session(request) is not None and not _is_question(request):
        response = to_login(request, "expired")
        site.sessions.end(request, response)
        return response
    return _answer(request, 503, "UNAVAILABLE", "key")


async def refused(request: Request, problem: Exception) -> Response:
    refusal = cast(RefusedError | BadVariableError, problem)
    told = {"field": refusal.field, "allowed": refusal.allowed}
    hints = {name: value for name, value in told.items() if value is not None}
    return _answer(request, 400, "BAD_INPUT", "refused", hints, message=str(problem))


async def http_error(request: Request, problem: Exception) -> Response:
    status = cast(HTTPException, problem).status_code
    key = str(status) if status in {404, 405} else "400" if status < 500 else "500"
    return _answer(request, status, "NOT_FOUND" if status == 404 else "BAD_REQUEST", key)


async def not_printed(request: Request, _: Exception) -> Response:
    return _answer(request, 503, "UNAVAILABLE", "printing")


async def broken(request: Request, _: Exception) -> Response:
    return _answer(request, 500, "INTERNAL", "500")


HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    GraphAwayError: graph_away,
    ValidationError: strange_answer,
    KeyRefusedError: key_refused,
    RefusedError: refused,
    BadVariableError: refused,
    PrintingError: not_printed,
    HTTPException: http_error,
    500: broken,
}
