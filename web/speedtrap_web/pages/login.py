"""Logging in and out. What is for admins only is asked of graph with the admin's own key."""

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.client import KeyRefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.http.session import Session, own_path

LONGEST_KEY = 512


def to_login(request: Request, why: str) -> Response:
    """Off to the login, and back to the page that asked for it."""
    back = request.url.path if request.method == "GET" else "/"
    return RedirectResponse("/login?" + urlencode({"why": why, "next": back}), 303)


def seen_other(path: str, done: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode({'done': done})}", 303)


async def login_form(request: Request) -> Response:
    site = web.of(request)
    why = request.query_params.get("why", "")
    message = site.catalogue(request).text(f"login.{why}") if why in {"expired", "needed"} else ""
    return _login_page(request, message, next_path=own_path(request.query_params.get("next")))


async def login(request: Request) -> Response:
    """Takes an admin key; graph itself says whose it is."""
    site = web.of(request)
    words = site.catalogue(request)
    form = await read_form(request)
    key = form.get("key", "")
    next_path = own_path(form.get("next"))
    client = request.client.host if request.client else ""
    wait_s = site.throttle.wait_s(client)
    if wait_s:
        response = _login_page(
            request, words.text("login.throttled", seconds=wait_s), 429, next_path
        )
        response.headers["Retry-After"] = str(wait_s)
        return response
    if not key:
        return _login_page(request, words.text("login.missing"), 400, next_path)
    try:
        caller = await _caller(site, key)
    except KeyRefusedError:
        site.throttle.failed(client)
        return _login_page(request, words.text("login.wrong"), 403, next_path)
    if caller["role"] != "ADMIN":
        site.throttle.failed(client)
        message = words.text(
            "login.not_admin", name=caller["name"], role=str(caller["role"]).lower()
        )
        return _login_page(request, message, 403, next_path)
    site.throttle.succeeded(client)
    response = RedirectResponse(next_path, 303)
    site.sessions.begin(request, response, Session(name=caller["name"], key=key))
    return response


async def _caller(site: web.Site, key: str) -> dict[str, Any]:
    # A header can carry printable ASCII only; anything else is no key that was ever made.
    if len(key) > LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise KeyRefusedError("not a key")
    caller: dict[str, Any] = (await site.graph.ask("me", key=key))["me"]
    return caller


def _login_page(
    request: Request, message: str, status: int = 200, next_path: str = "/"
) -> Response:
    context = {"message": message, "next_path": next_path}
    return web.of(request).page(request, "login.html", context, status)


async def logout(request: Request) -> Response:
    response = RedirectResponse("/", 303)
    web.of(request).sessions.end(request, response)
    return response


ROUTES = [
    Route("/login", login_form, methods=["GET"]),
    Route("/login", login, methods=["POST"]),
    Route("/logout", logout, methods=["POST"]),
]
