"""Rolls up in the background what ingest has marked, so that a reader seldom has to."""

import asyncio
import logging
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from speedtrap_graph.clock import system_clock
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.rollups import MARKS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RollUp:
    """Several copies may do this at once: they take turns on each probe."""

    store: Store
    every_s: float = 30.0

    async def forever(self) -> None:
        while True:
            try:
                # First what an interrupted change of plan left, as marks come of it.
                await Rejudge(self.store, system_clock).sweep()
                await self.once()
            except PyMongoError as error:
                # The marks stay, and whoever reads before the next round rolls up himself.
                _log.warning("rolling up waits for MongoDB: %s", type(error).__name__)
            await asyncio.sleep(self.every_s)

    async def once(self) -> None:
        """Every probe that has marks."""
        for probe in await self.store[MARKS].distinct("probe"):
            standards = await load_standards(self.store, probe)
            rules = standards.pure_rules
            await Rollups(self.store.database, probe, standards.pure_plans, rules).refresh()
