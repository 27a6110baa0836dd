"""The channels as people see them, and their tests."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.services import Services
from speedtrap_graph.api.types.enums import ChannelState, ChannelTestState, NoticeStatus
from speedtrap_graph.services.notices.channels import Channel as ServiceChannel
from speedtrap_graph.services.notices.channels import Channels
from speedtrap_graph.services.notices.channels import ChannelTest as ServiceTest


@strawberry.type(
    description="One real message to the subscriber, never to the ISP. It counts against no limit."
)
class ChannelTest:
    id: strawberry.ID
    channel: str
    state: ChannelTestState
    asked_at: datetime
    asked_by: str
    ended_at: datetime | None
    why: str | None = strawberry.field(
        description="Where to look for it, or what went wrong; null until it has ended."
    )

    @classmethod
    def of(cls, test: ServiceTest) -> Self:
        return cls(
            id=strawberry.ID(test.id),
            channel=test.channel,
            state=test.state,
            asked_at=test.asked_at,
            asked_by=test.asked_by,
            ended_at=test.ended_at,
            why=test.why,
        )


@strawberry.type(description="A way out, as its bots say that it is.")
class Channel:
    name: str
    alive: bool = strawberry.field(description="Whether a bot of it was heard of within a minute.")
    workers: int = strawberry.field(description="How many such bots there are.")
    last_seen_at: datetime | None
    state: ChannelState | None = strawberry.field(
        description="Of the living bots, what most wants a person's eye; else the last one's. Null "
        "while none was ever heard of."
    )
    since: datetime | None = strawberry.field(description="Of the state.")
    why: str | None = strawberry.field(
        description="What stopped it, in words for a person, or until when it is quiet."
    )
    recipient: str = strawberry.field(description="Empty while nobody is configured.")
    needs_leave: bool = strawberry.field(
        description="Whether its notices wait for a person's approval."
    )
    waiting: int = strawberry.field(description="Notices that wait for a person's approval.")
    due: int = strawberry.field(description="That are approved and wait for their turn.")
    unknown: int = strawberry.field(description="That may have arrived.")
    sent: int
    dead: int
    last_test: ChannelTest | None

    @classmethod
    def of(cls, channel: ServiceChannel) -> Self:
        test, count = channel.last_test, channel.count
        return cls(
            name=channel.name,
            alive=channel.workers > 0,
            workers=channel.workers,
            last_seen_at=channel.last_seen_at,
            state=channel.state,
            since=channel.since,
            why=channel.why,
            recipient=channel.recipient,
            needs_leave=channel.needs_leave,
            waiting=count(NoticeStatus.PLANNED),
            due=count(NoticeStatus.APPROVED, NoticeStatus.DUE),
            unknown=count(NoticeStatus.UNKNOWN, NoticeStatus.CHECKING),
            sent=count(NoticeStatus.SENT),
            dead=count(NoticeStatus.DEAD),
            last_test=None if test is None else ChannelTest.of(test),
        )


def channels_of(services: Services) -> Channels:
    ledger = services.ledger
    return Channels(ledger.store, ledger.clock, ledger.terms)
