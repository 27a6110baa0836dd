"""What may be followed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import BreachEventKind
from speedtrap_graph.api.types.notices import Breach, BreachEvent
from speedtrap_graph.api.types.probes import ProbeEvent
from speedtrap_graph.api.types.runs import Run
from speedtrap_graph.services.probes.silence import follow_probes
from speedtrap_graph.services.read.events import Event
from speedtrap_graph.store.documents import RunDocument


@strawberry.type
class Subscription:
    @strawberry.subscription(
        description='Without gap or duplicate after a cursor; without one, from now on; "0" is '
        "the beginning."
    )
    async def breaches(
        self, info: Info, after: str | None = None
    ) -> AsyncGenerator[BreachEvent, None]:
        async with aclosing(info.context.services.events.breaches(after)) as events:
            async for event in events:
                yield _event(event)

    @strawberry.subscription(
        description="Probes that fall silent and come back, each once, behind a cursor as for "
        "breaches."
    )
    async def probe_events(
        self, info: Info, after: str | None = None
    ) -> AsyncGenerator[ProbeEvent, None]:
        async with aclosing(follow_probes(info.context.services.store, after)) as rows:
            async for row in rows:
                yield ProbeEvent.of(row)

    @strawberry.subscription
    async def runs(self, info: Info, probe: str | None = None) -> AsyncGenerator[Run, None]:
        wanted = info.context.own(probe)
        async with aclosing(info.context.services.events.runs(wanted)) as rows:
            async for row in rows:
                yield Run.of(RunDocument.model_validate(row))


def _event(event: Event) -> BreachEvent:
    known: BreachEvent | None = event.views.get(BreachEvent)
    if known is None:
        known = event.views[BreachEvent] = BreachEvent(
            cursor=str(event.seq),
            kind=BreachEventKind(event.row["kind"]),
            at=event.row["at"],
            breach=Breach.of(event.breach),
        )
    return known
