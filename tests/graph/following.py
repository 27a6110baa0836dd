"""Clients that follow the breaches over the wire, and after a break go on behind their cursor."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import websockets

from tests.lab.service import Service
from tests.lab.waiting import until
from tests.lab.wire import socket

BREACHES = """
subscription($after: String) {
  breaches(after: $after) { cursor kind breach { id probe reference status count } }
}
"""


@dataclass
class Follower:
    """What one client was told. `connections` counts how often it had to begin anew."""

    service: Service
    told: list[dict[str, Any]] = field(default_factory=list)
    pause_s: float = 0.0
    leaves_after: int | None = None
    """It goes away by itself after so many events, and comes back."""
    connections: int = 0

    @property
    def cursors(self) -> list[int]:
        return [int(event["cursor"]) for event in self.told]

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await self._once()
            await asyncio.sleep(0.05)

    async def until(self, cursor: int, timeout_s: float = 60) -> None:
        """Waits until it has been told of *cursor*."""
        await until(lambda: bool(self.told) and self.cursors[-1] >= cursor, timeout_s)

    async def _once(self) -> None:
        async with socket(self.service, {"X-API-Key": self.service.keys["bot"]}) as opened:
            self.connections += 1
            after = self.told[-1]["cursor"] if self.told else "0"
            await opened.subscribe(BREACHES, {"after": after})
            here = 0
            while here != self.leaves_after:
                self.told.append((await opened.next_data())["breaches"])
                here += 1
                await asyncio.sleep(self.pause_s)


@contextlib.asynccontextmanager
async def following(*followers: Follower) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(follower.follow()) for follower in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
