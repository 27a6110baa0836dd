"""How often one address may ask: all visitors share the page's one key, and so its quota."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PER_SECOND = 20.0
BURST = 600.0
REFUSED_AFTER_S = 1.0
"""Who asks too often waits for the answer too, or asking would cost more than answering."""
MOST_MEASURING = 16
"""Requests of one address for `/speed/` at a time: tools use up to eight each way."""
_ADDRESSES_KEPT = 10_000


@dataclass
class FairShare:
    """Wraps an ASGI app: 429 for an address that has used up its bucket, and for one that measures
    too much at once. At `/graphql` each key has a quota of its own: only who has none is counted.
    """

    app: ASGIApp
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)
    _measuring: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        if scope["path"] == "/graphql":
            await self.app(scope, receive, self._slow_for_strangers(address, send))
        elif not self._may_ask(address):
            await self._refuse("This address asks too often", scope, receive, send)
        elif scope["path"].startswith("/speed/"):
            await self._measure(address, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _slow_for_strangers(self, address: str, send: Send) -> Send:
        """Who asks is known once the answer begins. A key that asks too often waits too."""

        async def slowed(message: Message) -> None:
            status = message.get("status")
            if status == 429 or (status == 401 and not self._may_ask(address)):
                await self.pause(REFUSED_AFTER_S)
            await send(message)

        return slowed

    async def _measure(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        if self._measuring[address] >= MOST_MEASURING:
            await self._refuse("This address measures too much at once", scope, receive, send)
            return
        self._measuring[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._measuring[address] -= 1
            if not self._measuring[address]:
                del self._measuring[address]

    async def _refuse(self, why: str, scope: Scope, receive: Receive, send: Send) -> None:
        await self.pause(REFUSED_AFTER_S)
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        told = {"error": {"code": "RATE_LIMITED", "message": f"{why}; ask again in a second."}}
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
