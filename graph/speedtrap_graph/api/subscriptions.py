"""What may be followed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from speedtrap_graph.api.context import Context, Info
from speedtrap_graph.api.enums import BreachEventKind, Role
from speedtrap_graph.api.notices import Breach, BreachEvent
from speedtrap_graph.api.runs import Run
from speedtrap_graph.services.errors import NotFoundError
from speedtrap_graph.store.database import Row
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
        info.context.require(Role.VIEWER, Role.BOT)
        async with aclosing(info.context.services.events.breaches(after)) as rows:
            async for row in rows:
                yield await _event(info.context, row)

    @strawberry.subscription
    async def runs(self, info: Info, probe: str | None = None) -> AsyncGenerator[Run, None]:
        wanted = info.context.own(probe)
        async with aclosing(info.context.services.events.runs(wanted)) as rows:
            async for row in rows:
                yield Run.of(RunDocument.model_validate(row))


async def _event(context: Context, row: Row) -> BreachEvent:
    """With the breach as it stands now, so that nobody acts on what was taken back meanwhile."""
    breach = await context.breaches.load(row["breach"])
    if breach is None:
        raise NotFoundError(f"there is no breach {row['breach']!r}")
    return BreachEvent(
        cursor=str(row["_id"]),
        kind=BreachEventKind(row["kind"]),
        at=row["at"],
        breach=Breach.of(breach),
    )
