"""The door of `/graphql`: who is calling, and how much may come in."""

import json
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from speedtrap_graph.callers import Callers
from speedtrap_graph.unpacking import BadGzipError, TooLargeError, Unpacking

_UNAUTHENTICATED = {
    "error": {
        "code": "UNAUTHENTICATED",
        "message": "A valid key is needed, as X-API-Key or Authorization: Bearer.",
    }
}


@dataclass(frozen=True)
class Gate:
    """Wraps an ASGI app: 401 without a known key, on a WebSocket before it opens; 413 if too big.

    The caller goes on in `scope["state"]["caller"]`.
    """

    app: ASGIApp
    callers: Callers
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        caller = self.callers.identify({name.lower(): value for name, value in headers.items()})
        if caller is None:
            await _refuse(401, _UNAUTHENTICATED, scope, receive, send)
            return
        inner = {**scope, "state": {**scope.get("state", {}), "caller": caller}}
        if scope["type"] != "http":
            await self.app(inner, receive, send)
            return
        await self._limited(inner, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = Headers(scope=scope).get("content-encoding", "identity").lower()
        if encoding not in {"identity", "gzip"}:
            error = {"code": "BAD_INPUT", "message": "A body may be plain or gzip, nothing else."}
            await _refuse(415, {"error": error}, scope, receive, send)
            return
        unpacked = Unpacking(receive, self.max_body_bytes, packed=encoding == "gzip")
        try:
            await self.app(scope, unpacked, send)
        except BadGzipError as problem:
            error = {"code": "BAD_INPUT", "message": str(problem)}
            await _refuse(400, {"error": error}, scope, receive, send)
        except TooLargeError:
            error = {
                "code": "BAD_INPUT",
                "message": f"The request is larger than {self.max_body_bytes} bytes.",
            }
            await _refuse(413, {"error": error}, scope, receive, send)


async def _refuse(
    status: int, body: dict[str, dict[str, str]], scope: Scope, receive: Receive, send: Send
) -> None:
    if scope["type"] == "http":
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        await JSONResponse(body, status, headers)(scope, receive, send)
        return
    await receive()  # websocket.connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        # The server cannot answer a handshake with a body: this makes it 403.
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    response = Response(json.dumps(body), status, media_type="application/json")
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": response.body})
