"""What is kept, and for how long."""

from time import monotonic

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.retention import DeletedProbe, Retention
from speedtrap_graph.services.probes.remove import Removal
from speedtrap_graph.services.upkeep.retention import set_retention as set_retention_to

_PATIENCE_S = 15.0
"""A caller waits so long for a big probe to go; the rest goes in the background."""


@strawberry.type
class ServiceMutations:
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

    @strawberry.mutation(
        description="How many days runs are kept one by one, at least 90; null, as at first: for "
        "ever. Older ones are taken out in the background, and what has gone does not come back."
    )
    async def set_retention(self, info: Info, days: int | None = None) -> Retention:
        services, by = info.context.services, info.context.caller.name
        return Retention.of(await set_retention_to(services.store, services.clock, days, by))
