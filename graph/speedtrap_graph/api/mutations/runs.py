"""Runs and signs of life."""

from datetime import datetime
from typing import Self
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import Role
from speedtrap_graph.api.types.runs import DeletedRun
from speedtrap_graph.api.types.scalars import RunInput
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.intake.submission import Submission
from speedtrap_graph.services.intake.validate import Rejection
from speedtrap_graph.services.probes.silence import beat

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
class RunMutations:
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
