"""The door of `/graphql`: who is calling, how often, and how much may come in."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from speedtrap_graph.api.guards.errors import public
from speedtrap_graph.clock import system_clock
from speedtrap_graph.http.callers import Caller, Callers
from speedtrap_graph.http.quotas import Quotas, metered, rate_limited
from speedtrap_graph.http.unpacking import BODY_WITHIN_S, BadGzipError, TooLargeError, Unpacking
from speedtrap_graph.services.probes.key_uses import KeyUses

_UNAUTHENTICATED = {
    "error": {
        "code": "UNAUTHENTICATED",
        "message": "A valid key is needed, as X-API-Key or Authorization: Bearer.",
    }
}


MOST_BODIES = 32
"""Of one key at a time, that have not arrived yet: each may grow as large as a body may be."""

REVOKED_CODE = 4403
"""As graphql-transport-ws has it: forbidden."""


@dataclass(frozen=True)
class Authentication:
    """Wraps an ASGI app: 401 without a known key, on a WebSocket before it opens; 413 if too big;
    429 when the key has asked too often. A socket whose key is revoked is closed.

    The caller goes on in `scope["state"]["caller"]`.
    """

    app: ASGIApp
    callers: Callers
    max_body_bytes: int
    quotas: Quotas
    recheck_s: float = 2.0
    key_uses: KeyUses = field(default_factory=KeyUses)
    _bodies: Counter[Caller] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in Headers(scope=scope).items()}
        caller = self.callers.identify(headers)
        if caller is None:
            await _refuse(401, _UNAUTHENTICATED, scope, receive, send)
            return
        self._note(caller)
        wait_s = self.quotas.take(caller)
        if wait_s is not None:
            error = public(rate_limited(caller, wait_s)).formatted
            body = {"errors": [error]}
            await _refuse(429, body, scope, receive, send, {"Retry-After": str(int(wait_s) + 1)})
            return
        inner = {**scope, "state": {**scope.get("state", {}), "caller": caller}}
        if scope["type"] == "http":
            work = self._limited(inner, receive, send)
        else:
            work = self._while_known(caller, headers, inner, receive, send)
        await metered(work, lambda seconds: self.quotas.charge_cpu(caller, seconds))

    async def _while_known(
        self, caller: Caller, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        open_socket = asyncio.ensure_future(self.app(scope, receive, send))
        try:
            while not open_socket.done():
                await asyncio.wait({open_socket}, timeout=self.recheck_s)
                if not open_socket.done() and self.callers.identify(headers) != caller:
                    reason = "this key was revoked"
                    close = {"type": "websocket.close", "code": REVOKED_CODE, "reason": reason}
                    await send(close)
                    return
                self._note(caller)
        finally:
            open_socket.cancel()
            # What was still to be said to a client that has been sent away is nobody's mistake.
            with contextlib.suppress(
                asyncio.CancelledError, WebSocketDisconnect, WebSocketDisconnected
            ):
                await open_socket

    def _note(self, caller: Caller) -> None:
        self.key_uses.note(caller.name, caller.role, system_clock())

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = Headers(scope=scope).get("content-encoding", "identity").lower()
        if encoding not in {"identity", "gzip"}:
            error = {"code": "BAD_INPUT", "message": "A body may be plain or gzip, nothing else."}
            await _refuse(415, {"error": error}, scope, receive, send)
            return
        caller = scope["state"]["caller"]
        if self._bodies[caller] >= MOST_BODIES:
            message = f"This key has {MOST_BODIES} requests that are still arriving."
            error = {"code": "RATE_LIMITED", "message": message}
            await _refuse(429, {"error": error}, scope, receive, send, {"Retry-After": "1"})
            return
        arriving = self._bodies
        arriving[caller] += 1
        unpacked = Unpacking(
            receive,
            self.max_body_bytes,
            packed=encoding == "gzip",
            complete=lambda: arriving.subtract([caller]),
        )
        try:
            await self.app(scope, unpacked, send)
        except TimeoutError:
            message = f"The request's body did not arrive within {BODY_WITHIN_S:g} s."
            error = {"code": "BAD_INPUT", "message": message}
            await _refuse(408, {"error": error}, scope, receive, send)
        except BadGzipError as problem:
            error = {"code": "BAD_INPUT", "message": str(problem)}
            await _refuse(400, {"error": error}, scope, receive, send)
        except TooLargeError:
            error = {
                "code": "BAD_INPUT",
                "message": f"The request is larger than {self.max_body_bytes} bytes.",
            }
            await _refuse(413, {"error": error}, scope, receive, send)
        finally:
            unpacked.end()
            self.quotas.charge(caller, self.max_body_bytes - max(unpacked.left, 0))


async def _refuse(
    status: int,
    body: Mapping[str, object],
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: Mapping[str, str] | None = None,
) -> None:
    if scope["type"] == "http":
        if status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
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
