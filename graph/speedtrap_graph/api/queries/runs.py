"""Runs, and those that were deleted."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import Outcome
from speedtrap_graph.api.types.runs import DeletedRun, Run, RunConnection
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.read.browse import RunFilter


@strawberry.type
class RunQueries:
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


def _names(values: Sequence[Enum] | None) -> list[str] | None:
    return None if values is None else [value.value for value in values]
