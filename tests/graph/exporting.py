"""What the tests of exporters share: one copy at work, and patience."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from speedtrap_graph.clock import system_clock
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.upkeep.pump import Exporter, Pump
from speedtrap_graph.store.database import Store


@asynccontextmanager
async def exporting(store: Store, exporter: Exporter) -> AsyncIterator[None]:
    """One copy of the service at work, from the moment it holds the lease."""
    export = Pump(store, exporter, longest_pause_s=0.05)
    task = asyncio.create_task(export.forever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def started(store: Store, exporter: str) -> None:
    """Its place is known: what comes from now on is exported."""
    known = {"_id": exporter, "token": {"$ne": None}}
    while not await store["exports"].find_one(known):  # noqa: ASYNC110 - MongoDB tells no event
        await asyncio.sleep(0.02)


async def submit(store: Store, *runs: dict[str, Any]) -> list[str]:
    result = await Ingest(store, system_clock).submit(list(runs), None)
    assert not result.rejected
    return [str(run) for run in result.accepted]
