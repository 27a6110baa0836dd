"""Switching the language: a cookie that holds nothing but its name."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from speedtrap_web.http.session import own_path
from speedtrap_web.site import LANGUAGE_COOKIE
from speedtrap_web.text.catalogue import CATALOGUES

A_YEAR_S = 365 * 24 * 3600


async def switch(request: Request) -> Response:
    """`/language?to=es&next=/runs`: back to where the reader was, in the other language."""
    response = RedirectResponse(own_path(request.query_params.get("next")), 303)
    wanted = request.query_params.get("to", "")
    if wanted in CATALOGUES:
        tls = request.url.scheme == "https"
        response.set_cookie(
            LANGUAGE_COOKIE, wanted, max_age=A_YEAR_S, path="/", secure=tls, httponly=True,
            samesite="lax",
        )  # fmt: skip
    return response


ROUTES = [
    Route("/language", switch),
]
