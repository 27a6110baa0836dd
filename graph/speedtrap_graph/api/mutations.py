"""What may be changed, and by whom."""

from datetime import datetime
from time import monotonic
from typing import Self
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.channels import ChannelTest, channels_of
from speedtrap_graph.api.types.enums import ChannelState, Role, SettleOutcome
from speedtrap_graph.api.types.notices import Claim, Notice, NoticeInput, SendingSwitch, Stop
from speedtrap_graph.api.types.plans import Plan, PlanInput, Rule, RuleInput, Silence
from speedtrap_graph.api.types.retention import DeletedProbe, Retention
from speedtrap_graph.api.types.runs import DeletedRun
from speedtrap_graph.api.types.scalars import RunInput
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.intake.ingest import Submission
from speedtrap_graph.services.intake.validate import Rejection
from speedtrap_graph.services.notices.channels import Report
from speedtrap_graph.services.notices.outcomes import Settlement
from speedtrap_graph.services.probes.remove import Removal
from speedtrap_graph.services.probes.silence import beat
from speedtrap_graph.services.upkeep.retention import set_retention as set_retention_to

_PATIENCE_S = 15.0
"""A caller waits so long for a big probe to go; the rest goes in the background."""


@strawberry.type
class RejectedRun:
    id: str | None = strawberry.field(description="As submitted, if there was one.")
    index: int = strawberry.field(description="Its place in the batch, from 0.")
    field: str = strawberry.field(
        description="The path of the field, e.g. measurements[1].downloadMbps."
    )
    message: str

    @classmethod
    def of(cls, rejection: Rejection) -> Self:
        return cls(
            id=rejection.id,
            index=rejection.index,
            field=rejection.field,
            message=rejection.message,
        )


@strawberry.type
class SubmitRunsResult:
    accepted: list[UUID]
    duplicates: list[UUID]
    rejected: list[RejectedRun]

    @classmethod
    def of(cls, submission: Submission) -> Self:
        return cls(
            accepted=submission.accepted,
            duplicates=submission.duplicates,
            rejected=[RejectedRun.of(rejection) for rejection in submission.rejected],
        )


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def submit_runs(self, info: Info, runs: list[RunInput]) -> SubmitRunsResult:
        context = info.context
        only_probe = context.caller.name if context.caller.role is Role.PROBE else None
        return SubmitRunsResult.of(await context.services.ingest.submit(runs, only_probe))

    @strawberry.mutation(
        description="Says that a probe lives, and when its next run is due; false while no run of "
        "it has come."
    )
    async def heartbeat(self, info: Info, probe: str, next_run_at: datetime | None = None) -> bool:
        context = info.context
        name = context.own(probe) or probe
        services = context.services
        return await beat(services.store, name, services.clock(), next_run_at)

    @strawberry.mutation(
        description="Leaves a tombstone, which keeps the run from coming back; its probe's "
        "breaches are judged again."
    )
    async def delete_run(
        self,
        info: Info,
        id: UUID,  # noqa: A002 - the schema's word
        reason: str,
    ) -> DeletedRun:
        services = info.context.services
        by = info.context.caller.name
        deletion = Deletion(services.store, services.clock)
        return DeletedRun.of(await deletion.delete(id, reason, by))

    @strawberry.mutation(
        description="Takes a probe out with everything of it: runs, figures, breaches, notices, "
        "own plans and rules. What was not sent yet is withdrawn. Its key is another matter: "
        "revoke it, or the probe begins anew."
    )
    async def delete_probe(self, info: Info, name: str, reason: str) -> DeletedProbe:
        services, by = info.context.services, info.context.caller.name
        removal = Removal(services.store, services.clock)
        begun, ends = await removal.begin(name, reason, by), monotonic() + _PATIENCE_S
        return DeletedProbe.of(await removal.finish(begun, lambda: monotonic() > ends))

    @strawberry.mutation
    async def set_plan(self, info: Info, plan: PlanInput) -> Plan:
        return Plan.of(await info.context.services.plans.set_plan(plan.probe, plan.to_rules()))

    @strawberry.mutation
    async def set_rule(self, info: Info, rule: RuleInput) -> Rule:
        return Rule.of(await info.context.services.plans.set_rule(rule.probe, rule.to_rules()))

    @strawberry.mutation(
        description="A probe without a rule of its own has the default; without that, the "
        "built-in one. False: there is no such rule."
    )
    async def delete_rule(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's word
    ) -> bool:
        return await info.context.services.plans.delete_rule(str(id))

    @strawberry.mutation(
        description="Judges all runs of a probe, or of every one, again; the probes' names. "
        "setPlan, setRule and deleteRule do so by themselves."
    )
    async def rejudge(self, info: Info, probe: str | None = None) -> list[str]:
        return await info.context.services.plans.rejudge.from_the_start(probe)

    @strawberry.mutation
    async def silence(self, info: Info, probe: str, until: datetime, reason: str) -> Silence:
        by = info.context.caller.name
        return Silence.of(await info.context.services.plans.silence(probe, until, reason, by))

    @strawberry.mutation(
        description="Idempotent on breach, stage, channel and recipient; freezes the content."
    )
    async def plan_notice(self, info: Info, notice: NoticeInput) -> Notice:
        by = info.context.caller.name
        return Notice.of(await info.context.services.ledger.plan(notice.to_draft(), by))

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

    @strawberry.mutation(
        description="How many days runs are kept one by one, at least 90; null, as at first: for "
        "ever. Older ones are taken out in the background, and what has gone does not come back."
    )
    async def set_retention(self, info: Info, days: int | None = None) -> Retention:
        services, by = info.context.services, info.context.caller.name
        return Retention.of(await set_retention_to(services.store, services.clock, days, by))

    @strawberry.mutation
    async def save_event_cursor(self, info: Info, consumer: str, cursor: str) -> bool:
        return await info.context.services.ledger.save_event_cursor(consumer, cursor)

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
        report = Report(channel, worker, state, recipient, why)
        await channels_of(info.context.services).report(report)
        return True
