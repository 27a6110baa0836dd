"""A LibreSpeed-compatible endpoint for measuring one's own network, not the internet.

`garbage` streams random bytes, `empty` swallows an upload or answers a ping, `getIP` says who asks.
Where NGINX stands in front, it serves these paths itself.
"""

import os
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PIECE = os.urandom(1 << 18)
"""Random bytes, sent again and again: nothing on the way can compress them much. So many wait in
memory for each client that reads slowly, or not at all."""
PIECES_PER_MIB = (1 << 20) // len(PIECE)

DEFAULT_MIB = 4
MOST_MIB = 1024

HEADERS = {
    "Cache-Control": "no-store, no-transform",
    # Only bytes without meaning are served here, so that any page may measure against them.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding",
    "Access-Control-Allow-Methods": "GET, POST",
    "X-Content-Type-Options": "nosniff",
}


async def garbage(request: Request) -> Response:
    """`ckSize` MiB of random bytes (1 to 1024, 4 without it)."""
    text = request.query_params.get("ckSize", str(DEFAULT_MIB))
    if not text.isascii() or not text.isdigit():
        return Response(f"ckSize: must be a whole number of MiB, 1 to {MOST_MIB}\n", 400, HEADERS)
    pieces = min(max(int(text[:6]), 1), MOST_MIB) * PIECES_PER_MIB
    headers = {**HEADERS, "Content-Length": str(pieces * len(PIECE))}
    return StreamingResponse(
        _repeat(pieces), headers=headers, media_type="application/octet-stream"
    )


async def _repeat(pieces: int) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield PIECE


async def empty(request: Request) -> Response:
    """Reads and forgets whatever comes, so that the sender's clock is all that counts."""
    # A measuring client stops its uploads by hanging up when its time is over.
    with suppress(ClientDisconnect):
        async for _ in request.stream():
            pass
    return Response(b"", headers=HEADERS)


async def get_ip(request: Request) -> Response:
    """The asker's own address, told to nobody else and kept nowhere."""
    address = request.client.host if request.client else ""
    return JSONResponse({"processedString": address, "rawIspInfo": ""}, headers=HEADERS)


def create_speed_app() -> Starlette:
    handlers = (("garbage", garbage, ["GET"]), ("getIP", get_ip, ["GET"]))
    routes = [
        Route(f"/{name}{suffix}", handler, methods=methods)
        for name, handler, methods in (*handlers, ("empty", empty, ["GET", "POST", "OPTIONS"]))
        for suffix in ("", ".php")
    ]
    return Starlette(routes=routes)
