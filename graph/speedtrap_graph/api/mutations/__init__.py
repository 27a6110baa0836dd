"""What may be changed, and by whom."""

import strawberry

from speedtrap_graph.api.mutations.channels import ChannelMutations
from speedtrap_graph.api.mutations.notices import NoticeMutations
from speedtrap_graph.api.mutations.plans import PlanMutations
from speedtrap_graph.api.mutations.runs import RunMutations
from speedtrap_graph.api.mutations.service import ServiceMutations


@strawberry.type
class Mutation(ServiceMutations, ChannelMutations, NoticeMutations, PlanMutations, RunMutations):
    """All of them."""
