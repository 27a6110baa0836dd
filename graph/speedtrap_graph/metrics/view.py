"""`GET /metrics`. Not public: it names probes and tells of notices."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from speedtrap_graph.http.callers import CALLER_HEADER, Caller, Gateway, Role, parse_caller
from speedtrap_graph.metrics.scrape import Scrape

READERS = frozenset({Role.VIEWER, Role.ADMIN})
_PATIENCE = "x-prometheus-scrape-timeout-seconds"
_MARGIN = 0.8
"""Of its patience: the answer has to travel, too."""
_FORBIDDEN = {
    "error": {
        "code": "FORBIDDEN",
        "message": "The figures are for keys of the roles viewer and admin.",
    }
}


@dataclass(frozen=True)
class MetricsView:
    """An ASGI app behind the gate, which found out who calls. With a `gateway` nobody has asked for
    a key, because only that one's inner door for figures leads here.
    """

    scrape: Callable[[], Scrape]
    gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._may_read(request):
            return JSONResponse(_FORBIDDEN, 403)
        families = await self.scrape().families(_patience_s(request))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(families)
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 6)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    def _may_read(self, request: Request) -> bool:
        if self.gateway is None:
            caller: Caller = request.state.caller
            return caller.role in READERS
        if not self.gateway.sent(request.headers):
            return False
        said = request.headers.get(CALLER_HEADER, "")
        if not said:
            return True
        named = parse_caller(said)
        return named is not None and named.role in READERS


def _patience_s(request: Request) -> float | None:
    """How long Prometheus waits, as it says itself."""
    try:
        seconds = float(request.headers.get(_PATIENCE, ""))
    except ValueError:
        return None
    return seconds * _MARGIN if seconds > 0 else None
