"""Probes: a line as it stands now."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import ProbeEventKind
from speedtrap_graph.api.types.notices import Breach
from speedtrap_graph.api.types.plans import Plan, Rule, Silence
from speedtrap_graph.api.types.runs import Run
from speedtrap_graph.services.probes.silence import is_silent, silent_at
from speedtrap_graph.store.database import Row
from speedtrap_graph.store.documents import ProbeDocument, RunDocument


@strawberry.type(description="A probe fell silent or came back: told once for each silence.")
class ProbeEvent:
    cursor: str = strawberry.field(
        description="Give it back as `after` to go on behind this event."
    )
    kind: ProbeEventKind
    probe: str
    silent_since: datetime = strawberry.field(
        description="From when on it was silent: its next run was overdue by 15 minutes."
    )
    at: datetime

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            cursor=str(row["_id"]),
            kind=ProbeEventKind(row["kind"]),
            probe=row["probe"],
            silent_since=row["since"],
            at=row["at"],
        )


@strawberry.type
class Probe:
    name: str
    run_count: int
    first_run_at: datetime | None
    last_seen_at: datetime | None
    silent_since: datetime | None
    raw_since: datetime | None = strawberry.field(
        description="From when on its runs are kept one by one; null: from the first. Hours before "
        "then stay as they were judged."
    )
    expected_at: datetime | None = strawberry.field(
        description="When the probe said that its next run is due."
    )
    silent_at: datetime | None = strawberry.field(
        description="From when on it is `silent` unless it is heard of before: 15 minutes after "
        "its next run is due."
    )

    @classmethod
    def of(cls, probe: ProbeDocument) -> Self:
        return cls(
            name=probe.id,
            run_count=probe.run_count,
            first_run_at=probe.first_run_at,
            last_seen_at=probe.last_seen_at,
            silent_since=probe.silent_since,
            raw_since=probe.raw_since,
            expected_at=probe.next_run_at,
            silent_at=silent_at(probe.next_run_at),
        )

    @strawberry.field(
        description="It has not been heard of, though its next run is overdue by more than "
        "15 minutes."
    )
    async def silent(self, info: Info) -> bool:
        return is_silent(self.last_seen_at, self.expected_at, info.context.services.clock())

    @strawberry.field
    async def plan(self, info: Info) -> Plan | None:
        standards = await info.context.standards.load(self.name)
        plan = standards.plan_document_at(info.context.services.clock())
        return None if plan is None else Plan.of(plan)

    @strawberry.field(description="Every plan that applies to this probe, newest first.")
    async def plans(self, info: Info) -> list[Plan]:
        standards = await info.context.standards.load(self.name)
        return [Plan.of(plan) for plan in reversed(standards.plans)]

    @strawberry.field
    async def rules(self, info: Info) -> list[Rule]:
        standards = await info.context.standards.load(self.name)
        return [Rule.of(rule) for rule in standards.rules]

    @strawberry.field
    async def last_run(self, info: Info) -> Run | None:
        row = await info.context.last_runs.load(self.name)
        return None if row is None else Run.of(RunDocument.model_validate(row))

    @strawberry.field(
        description="Observations below the download rule in a row, up to now; "
        "inconclusive runs neither extend nor break it."
    )
    async def streak(self, info: Info) -> int:
        standards = await info.context.standards.load(self.name)
        last_run = await info.context.last_runs.load(self.name)
        return await info.context.services.browse.streak(self.name, standards, last_run)

    @strawberry.field
    async def open_breach(self, info: Info) -> Breach | None:
        breach = await info.context.open_breaches.load(self.name)
        return None if breach is None else Breach.of(breach)

    @strawberry.field
    async def silence(self, info: Info) -> Silence | None:
        silence = await info.context.silences.load(self.name)
        return None if silence is None else Silence.of(silence)
