"""What may be read, and by whom."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.channels import Channel, channels_of
from speedtrap_graph.api.types.enums import BreachStatus, Metric, NoticeStatus, Outcome, Role
from speedtrap_graph.api.types.findings import Finding
from speedtrap_graph.api.types.notices import (
    Breach,
    BreachConnection,
    Notice,
    NoticeConnection,
    SendingSwitch,
    Stop,
)
from speedtrap_graph.api.types.plans import Plan, PlanInput, RuleInput
from speedtrap_graph.api.types.previews import RejudgePreview
from speedtrap_graph.api.types.probes import Probe, ProbeEvent
from speedtrap_graph.api.types.reports import History, ServiceReport
from speedtrap_graph.api.types.retention import DeletedProbe, Key, Retention
from speedtrap_graph.api.types.runs import DeletedRun, Run, RunConnection
from speedtrap_graph.services.history.findings import USUAL_RANGE, findings_of
from speedtrap_graph.services.history.report import service_report as report_on
from speedtrap_graph.services.history.series import HistoryQuery
from speedtrap_graph.services.history.series import history as history_of
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.probes.key_uses import last_seen
from speedtrap_graph.services.probes.remove import Removal
from speedtrap_graph.services.probes.silence import probe_events as probe_events_of
from speedtrap_graph.services.read.browse import RunFilter
from speedtrap_graph.services.read.changes import changes as changes_of
from speedtrap_graph.services.upkeep.retention import retention as retention_of


@strawberry.type
class Caller:
    name: str
    role: Role


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: Info) -> Caller:
        caller = info.context.caller
        return Caller(name=caller.name, role=caller.role)

    @strawberry.field
    async def probes(self, info: Info) -> list[Probe]:
        found = await info.context.services.browse.probes()
        return [Probe.of(probe) for probe in found if info.context.may_see(probe.id)]

    @strawberry.field
    async def probe(self, info: Info, name: str) -> Probe | None:
        info.context.own(name)
        found = await info.context.services.browse.probe(name)
        return None if found is None else Probe.of(found)

    @strawberry.field(description="Newest first.")
    async def runs(
        self,
        info: Info,
        probe: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        outcomes: list[Outcome] | None = None,
        first: int = 50,
        after: str | None = None,
    ) -> RunConnection:
        wanted = RunFilter(info.context.own(probe), since, until, _names(outcomes))
        return RunConnection.of(await info.context.services.browse.runs(wanted, first, after))

    @strawberry.field
    async def run(self, info: Info, id: UUID) -> Run | None:  # noqa: A002 - the schema's word
        found = await info.context.services.browse.run(id)
        if found is None or not info.context.may_see(found.probe):
            return None
        return Run.of(found)

    @strawberry.field
    async def deleted_run(
        self,
        info: Info,
        id: UUID,  # noqa: A002 - the schema's word
    ) -> DeletedRun | None:
        services = info.context.services
        found = await Deletion(services.store, services.clock).tombstone(id)
        return None if found is None else DeletedRun.of(found)

    @strawberry.field(description="The last deleted first.")
    async def deleted_runs(self, info: Info, first: int = 50) -> list[DeletedRun]:
        services = info.context.services
        found = await Deletion(services.store, services.clock).tombstones(first)
        return [DeletedRun.of(run) for run in found]

    @strawberry.field(description="The last deleted first.")
    async def deleted_probes(self, info: Info, first: int = 50) -> list[DeletedProbe]:
        services = info.context.services
        found = await Removal(services.store, services.clock).traces(first)
        return [DeletedProbe.of(trace) for trace in found]

    @strawberry.field(description="Every plan there is, newest first, also before the first run.")
    async def plans(self, info: Info) -> list[Plan]:
        return [Plan.of(plan) for plan in await info.context.services.browse.plans()]

    @strawberry.field(
        description="A mark that is another one whenever runs, breaches, plans, rules, silences "
        "or notices have changed: what was read under the same mark still holds."
    )
    async def changes(self, info: Info) -> str:
        return await changes_of(info.context.services.store)

    @strawberry.field
    async def history(
        self,
        info: Info,
        probe: str,
        since: datetime,
        until: datetime,
        metric: Metric = Metric.DOWNLOAD,
        tool: str | None = None,
        buckets: int = 600,
    ) -> History:
        info.context.own(probe)
        standards = await info.context.standards.load(probe)
        found = await history_of(
            info.context.services.store.database,
            HistoryQuery(probe, since, until, metric, tool, buckets),
            standards.pure_plans,
            standards.pure_rules,
        )
        return History.of(found)

    @strawberry.field
    async def service_report(
        self, info: Info, probe: str, since: datetime, until: datetime
    ) -> ServiceReport:
        info.context.own(probe)
        standards = await info.context.standards.load(probe)
        found = await report_on(
            info.context.services.store.database,
            probe,
            since,
            until,
            standards.pure_plans,
            standards.pure_rules,
        )
        return ServiceReport.of(found, standards.document_of(found.plan))

    @strawberry.field(
        description="What single tools say against all others, the newest first; of the last 30 "
        "days unless told, and of at most 4,000 runs. No breaches of the line."
    )
    async def findings(
        self,
        info: Info,
        probe: str,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Finding]:
        info.context.own(probe)
        services = info.context.services
        end = until or services.clock()
        found = await findings_of(
            services.store,
            probe,
            since or end - USUAL_RANGE,
            end,
            await info.context.standards.load(probe),
        )
        return [Finding.of(probe, finding) for finding in found]

    @strawberry.field(
        description="What setPlan, setRule or deleteRule would change if they were given this; "
        "exactly one."
    )
    async def rejudge_preview(
        self,
        info: Info,
        plan: PlanInput | None = None,
        rule: RuleInput | None = None,
        delete_rule: strawberry.ID | None = None,
    ) -> RejudgePreview:
        found = await info.context.services.plans.preview(
            None if plan is None else (plan.probe, plan.to_rules()),
            None if rule is None else (rule.probe, rule.to_rules()),
            None if delete_rule is None else str(delete_rule),
        )
        return RejudgePreview.of(found)

    @strawberry.field(
        description="Probes that fell silent and came back, the newest first; `before` is the "
        "cursor of the oldest one known."
    )
    async def probe_events(
        self, info: Info, probe: str | None = None, first: int = 50, before: str | None = None
    ) -> list[ProbeEvent]:
        store = info.context.services.store
        found = await probe_events_of(store, info.context.own(probe), first, before)
        return [ProbeEvent.of(row) for row in found]

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

    @strawberry.field(
        description="Everybody in the key file, by name; where this service reads none, everybody "
        "who was ever heard of."
    )
    async def keys(self, info: Info) -> list[Key]:
        services = info.context.services
        seen = await last_seen(services.store)
        known = services.callers.known()
        who = list(seen) if known is None else [(caller.name, caller.role) for caller in known]
        return [
            Key(name=name, role=Role(role), last_seen_at=seen.get((name, role)))
            for name, role in who
        ]

    @strawberry.field
    async def retention(self, info: Info) -> Retention:
        return Retention.of(await retention_of(info.context.services.store))

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
