"""Notices: written, approved, sent, looked up."""

from datetime import datetime

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import SettleOutcome
from speedtrap_graph.api.types.notices import Claim, Notice, NoticeInput, SendingSwitch, Stop
from speedtrap_graph.services.notices.outcomes import Settlement

_PATIENCE_S = 15.0
"""A caller waits so long for a big probe to go; the rest goes in the background."""


@strawberry.type
class NoticeMutations:
    @strawberry.mutation(
        description="Idempotent on breach, stage, channel and recipient; freezes the content."
    )
    async def draft_notice(self, info: Info, notice: NoticeInput) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.draft(notice.to_draft(), by))

    @strawberry.mutation(deprecation_reason="draftNotice: a plan is what was purchased.")
    async def plan_notice(self, info: Info, notice: NoticeInput) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.draft(notice.to_draft(), by))

    @strawberry.mutation
    async def approve_notice(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        digest: str,
    ) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.approve(str(id), digest, by))

    @strawberry.mutation
    async def reject_notice(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        reason: str,
    ) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.reject(str(id), reason, by))

    @strawberry.mutation(
        description="A lease on the next notice that is due in this channel; "
        "null when there is none."
    )
    async def claim_notice(self, info: Info, channel: str, worker: str) -> Claim | None:
        claim = await info.context.services.ledger.claim(channel, worker)
        return None if claim is None else Claim.of(claim)

    @strawberry.mutation(
        description="Recorded before the first byte leaves; false when the fence is stale "
        "or the breach no longer stands."
    )
    async def begin_sending(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        fence: int,
    ) -> bool:
        by = info.context.caller.name
        return await info.context.services.ledger.begin_sending(str(id), fence, by)

    @strawberry.mutation
    async def settle_notice(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        fence: int,
        outcome: SettleOutcome,
        reference: str | None = None,
        detail: str | None = None,
        retry_at: datetime | None = None,
    ) -> Notice:
        settlement = Settlement(outcome, reference, detail, retry_at)
        by = info.context.caller.name
        settled = await info.context.services.ledger.settle(str(id), fence, settlement, by)
        return Notice.of(settled)

    @strawberry.mutation(
        description="A lease on looking up the next notice of this channel whose outcome is "
        "unknown; settle it with SENT, NOT_FOUND or UNKNOWN. Null when there is none."
    )
    async def claim_check(self, info: Info, channel: str, worker: str) -> Claim | None:
        claim = await info.context.services.ledger.claim_check(channel, worker)
        return None if claim is None else Claim.of(claim)

    @strawberry.mutation(
        description="A person's word about an UNKNOWN notice: it arrived, or it may be sent again."
    )
    async def resolve_notice(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        arrived: bool,
        reason: str,
    ) -> Notice:
        by = info.context.caller.name
        ledger = info.context.services.ledger
        return Notice.of(await ledger.resolve(str(id), arrived, reason, by))

    @strawberry.mutation(description="A mail that counted as sent came back.")
    async def record_bounce(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
        detail: str,
    ) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.record_bounce(str(id), detail, by))

    @strawberry.mutation(
        description="This recipient wants no more, through any channel. There is no way back."
    )
    async def stop_recipient(self, info: Info, recipient: str, reason: str) -> Stop:
        by = info.context.caller.name
        return Stop.of(await info.context.services.ledger.stop(recipient, reason, by))

    @strawberry.mutation(description="The switch for everything: while it is off, nothing leaves.")
    async def set_sending(self, info: Info, on: bool, reason: str) -> SendingSwitch:
        by = info.context.caller.name
        return SendingSwitch.of(await info.context.services.ledger.set_sending(on, reason, by))

    @strawberry.mutation
    async def save_event_cursor(self, info: Info, consumer: str, cursor: str) -> bool:
        return await info.context.services.ledger.save_event_cursor(consumer, cursor)
