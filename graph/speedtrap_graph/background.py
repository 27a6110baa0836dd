"""What runs beside the requests, from the start of the service to its end."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from speedtrap_graph.api.services import Services
from speedtrap_graph.clock import system_clock
from speedtrap_graph.services.probes.key_uses import KeyUses
from speedtrap_graph.services.probes.silence import SilenceWatch
from speedtrap_graph.services.upkeep.pump import Exporter, Pump
from speedtrap_graph.services.upkeep.roll_up import RollUp
from speedtrap_graph.services.upkeep.thin import Thinning
from speedtrap_graph.settings import GraphSettings


@dataclass
class Background:
    """The tasks of one process. `watcher` is the one without which there is no service."""

    watcher: asyncio.Task[None]
    others: list[asyncio.Task[None]]

    @property
    def is_watching(self) -> bool:
        return not self.watcher.done()

    async def end(self) -> None:
        for task in (self.watcher, *self.others):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def begin(
    services: Services,
    settings: GraphSettings,
    exporters: Sequence[Exporter],
    key_uses: KeyUses,
) -> Background:
    """Inside a running loop, on a database that is prepared."""
    store = services.store
    work = [
        RollUp(store).forever(),
        SilenceWatch(store, system_clock, settings.silence_watch_s).forever(),
        Thinning(store, system_clock).forever(),
        key_uses.forever(store),
        *(Pump(store, exporter).forever() for exporter in exporters),
    ]
    return Background(
        asyncio.create_task(services.events.watch()), [asyncio.create_task(one) for one in work]
    )
