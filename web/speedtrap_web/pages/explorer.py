"""The GraphQL explorer, where the operator switches it on: for an admin, with the admin's own key.

What is asked goes through this service: the browser holds no key here either, and the change that
another site asks for is refused as on every page.
"""

import secrets

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.http.security import explorer_policy
from speedtrap_web.pages.login import to_login

LARGEST_QUESTION_BYTES = 256 * 1024
PASSED_ON = ("content-type", "retry-after")
"""What of graph's headers the browser is to see."""


async def explorer(request: Request) -> Response:
    """`/explorer`"""
    site = web.of(request)
    if site.session(request) is None:
        return to_login(request, "needed")
    nonce = secrets.token_urlsafe(16)
    response = site.page(request, "explorer.html", {"nonce": nonce})
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = explorer_policy(nonce)
    return response


async def ask(request: Request) -> Response:
    """`/explorer/graphql`: the operation goes to graph as it is, and graph's answer back."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        message = site.catalogue(request).text("explorer.login")
        error = {"message": message, "extensions": {"code": "UNAUTHENTICATED"}}
        return JSONResponse({"errors": [error]}, 401)
    answer = await site.graph.ask_by_hand(await _body(request), session.key)
    headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
    return Response(answer.content, answer.status_code, headers)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_QUESTION_BYTES:
            raise HTTPException(413)
    return bytes(body)


OPTIONAL_ROUTES = (
    Route("/explorer", explorer, methods=["GET"]),
    Route("/explorer/graphql", ask, methods=["POST"]),
)
