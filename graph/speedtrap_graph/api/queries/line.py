"""How lines are, and what they are held to."""

from datetime import datetime

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import Metric
from speedtrap_graph.api.types.findings import Finding
from speedtrap_graph.api.types.plans import Plan, PlanInput, RuleInput
from speedtrap_graph.api.types.previews import RejudgePreview
from speedtrap_graph.api.types.probes import Probe, ProbeEvent
from speedtrap_graph.api.types.reports import History, ServiceReport
from speedtrap_graph.services.history.findings import USUAL_RANGE, findings_of
from speedtrap_graph.services.history.report import service_report as report_on
from speedtrap_graph.services.history.series import HistoryQuery
from speedtrap_graph.services.history.series import history as history_of
from speedtrap_graph.services.probes.silence import probe_events as probe_events_of


@strawberry.type
class LineQueries:
    @strawberry.field
    async def probes(self, info: Info) -> list[Probe]:
        found = await info.context.services.browse.probes()
        return [Probe.of(probe) for probe in found if info.context.may_see(probe.id)]

    @strawberry.field
    async def probe(self, info: Info, name: str) -> Probe | None:
        info.context.own(name)
        found = await info.context.services.browse.probe(name)
        return None if found is None else Probe.of(found)

    @strawberry.field(description="Every plan there is, newest first, also before the first run.")
    async def plans(self, info: Info) -> list[Plan]:
        return [Plan.of(plan) for plan in await info.context.services.browse.plans()]

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
