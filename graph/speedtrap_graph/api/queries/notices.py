"""Breaches, and what was written about them."""

from collections.abc import Sequence
from enum import Enum

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.channels import Channel, channels_of
from speedtrap_graph.api.types.enums import BreachStatus, NoticeStatus
from speedtrap_graph.api.types.notices import (
    Breach,
    BreachConnection,
    Notice,
    NoticeConnection,
    SendingSwitch,
    Stop,
)


@strawberry.type
class NoticeQueries:
    @strawberry.field
    async def breaches(
        self,
        info: Info,
        probe: str | None = None,
        status: list[BreachStatus] | None = None,
        first: int = 50,
        after: str | None = None,
    ) -> BreachConnection:
        page = await info.context.services.browse.breaches(
            info.context.own(probe), _names(status), first, after
        )
        return BreachConnection.of(page)

    @strawberry.field
    async def breach(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
    ) -> Breach | None:
        found = await info.context.services.browse.breach(str(id))
        if found is None or not info.context.may_see(found.probe):
            return None
        return Breach.of(found)

    @strawberry.field
    async def notices(
        self,
        info: Info,
        breach: strawberry.ID | None = None,
        status: list[NoticeStatus] | None = None,
        first: int = 50,
        after: str | None = None,
    ) -> NoticeConnection:
        page = await info.context.services.browse.notices(
            None if breach is None else str(breach), _names(status), first, after
        )
        return NoticeConnection.of(page)

    @strawberry.field
    async def notice(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
    ) -> Notice | None:
        found = await info.context.services.browse.notice(str(id))
        return None if found is None else Notice.of(found)

    @strawberry.field(
        description="Where this consumer (a bot) got to in the breach events; "
        "null before its first."
    )
    async def event_cursor(self, info: Info, consumer: str) -> str | None:
        return await info.context.services.ledger.event_cursor(consumer)

    @strawberry.field(
        description="Breaches that the limits kept from this recipient and that no digest has told "
        "of; empty until a week's are together."
    )
    async def due_for_digest(self, info: Info, channel: str, recipient: str) -> list[Breach]:
        found = await info.context.services.ledger.due_for_digest(channel, recipient)
        return [Breach.of(breach) for breach in found]

    @strawberry.field(description="Who asked for no more, newest first.")
    async def stops(self, info: Info) -> list[Stop]:
        return [Stop.of(stop) for stop in await info.context.services.ledger.stops()]

    @strawberry.field(
        description="Those that a bot was heard of in the last 30 days, or that have notices."
    )
    async def channels(self, info: Info) -> list[Channel]:
        found = await channels_of(info.context.services).all()
        return [Channel.of(channel) for channel in found]

    @strawberry.field(description="The switch for everything; null when it was never touched.")
    async def sending(self, info: Info) -> SendingSwitch | None:
        found = await info.context.services.ledger.sending()
        return None if found is None else SendingSwitch.of(found)


def _names(values: Sequence[Enum] | None) -> list[str] | None:
    return None if values is None else [value.value for value in values]
