"""Channels: how they are, and their tests."""

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.channels import ChannelTest, channels_of
from speedtrap_graph.api.types.enums import ChannelState, SettleOutcome
from speedtrap_graph.services.notices.channels import ChannelReport

_PATIENCE_S = 15.0
"""A caller waits so long for a big probe to go; the rest goes in the background."""


@strawberry.type
class ChannelMutations:
    @strawberry.mutation(
        description="Has a bot of this channel send one real message to the subscriber, never to "
        "the ISP; how it ended is `channels { lastTest }`. While one is under way, that one."
    )
    async def send_test(self, info: Info, channel: str) -> ChannelTest:
        by = info.context.caller.name
        return ChannelTest.of(await channels_of(info.context.services).ask_for_test(channel, by))

    @strawberry.mutation(description="The test that this worker is to send now, once; mostly null.")
    async def claim_test(self, info: Info, channel: str, worker: str) -> ChannelTest | None:
        test = await channels_of(info.context.services).claim_test(channel, worker)
        return None if test is None else ChannelTest.of(test)

    @strawberry.mutation
    async def settle_test(
        self,
        info: Info,
        channel: str,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        outcome: SettleOutcome,
        why: str | None = None,
    ) -> ChannelTest:
        channels = channels_of(info.context.services)
        return ChannelTest.of(await channels.settle_test(channel, str(id), outcome, why))

    @strawberry.mutation(
        description="How a bot of this channel is: said every 20 seconds, and when it changes."
    )
    async def report_channel(
        self,
        info: Info,
        channel: str,
        worker: str,
        state: ChannelState,
        recipient: str = "",
        why: str | None = None,
    ) -> bool:
        report = ChannelReport(channel, worker, state, recipient, why)
        await channels_of(info.context.services).report(report)
        return True
