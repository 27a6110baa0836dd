"""What a line is held to, and when nobody is told."""

from datetime import datetime

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.plans import Plan, PlanInput, Rule, RuleInput, Silence

_PATIENCE_S = 15.0
"""A caller waits so long for a big probe to go; the rest goes in the background."""


@strawberry.type
class PlanMutations:
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
