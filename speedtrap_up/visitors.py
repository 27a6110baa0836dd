"""How often one address may ask: all visitors share the page's one key, and so its quota."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PER_SECOND = 20.0
BURST = 600.0
_ADDRESSES_KEPT = 10_000


@dataclass
class FairShare:
    """Wraps an ASGI app: 429 for an address that has used up its bucket. `/graphql` is not counted:
    there each key has a quota of its own.
    """

    app: ASGIApp
    now: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = (scope.get("client") or ("",))[0]
        is_free = scope["type"] != "http" or scope["path"] == "/graphql"
        if is_free or self._may_ask(address):
            await self.app(scope, receive, send)
            return
        message = "This address asks too often; ask again in a second."
        told = {"error": {"code": "RATE_LIMITED", "message": message}}
        await JSONResponse(told, 429, {"Retry-After": "1"})(scope, receive, send)

    def _may_ask(self, address: str) -> bool:
        now = self.now()
        left, seen = self._buckets.pop(address, (BURST, now))
        left = min(BURST, left + (now - seen) * PER_SECOND)
        # Put back as the newest: those that asked longest ago are the first to be forgotten.
        self._buckets[address] = (max(left - 1, 0.0), now)
        if len(self._buckets) > _ADDRESSES_KEPT:
            del self._buckets[next(iter(self._buckets))]
        return left >= 1
