"""The service itself: who asks, who may, what is kept."""

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import Role
from speedtrap_graph.api.types.retention import DeletedProbe, Key, Retention
from speedtrap_graph.services.probes.key_uses import last_seen
from speedtrap_graph.services.probes.remove import Removal
from speedtrap_graph.services.read.changes import changes as changes_of
from speedtrap_graph.services.upkeep.retention import retention as retention_of


@strawberry.type
class Caller:
    name: str
    role: Role


@strawberry.type
class ServiceQueries:
    @strawberry.field
    def me(self, info: Info) -> Caller:
        caller = info.context.caller
        return Caller(name=caller.name, role=caller.role)

    @strawberry.field(
        description="A mark that is another one whenever runs, breaches, plans, rules, silences "
        "or notices have changed: what was read under the same mark still holds."
    )
    async def changes(self, info: Info) -> str:
        return await changes_of(info.context.services.store)

    @strawberry.field(description="The last deleted first.")
    async def deleted_probes(self, info: Info, first: int = 50) -> list[DeletedProbe]:
        services = info.context.services
        found = await Removal(services.store, services.clock).traces(first)
        return [DeletedProbe.of(trace) for trace in found]

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
