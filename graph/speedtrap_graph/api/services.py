"""The services that resolvers ask, built once by the composition root."""

from dataclasses import dataclass, field

from speedtrap_graph.api.guards.timing import Timing
from speedtrap_graph.clock import Clock
from speedtrap_graph.http.callers import Callers, Gateway
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.notices.ledger import Ledger
from speedtrap_graph.services.read.browse import Browse
from speedtrap_graph.services.read.events import Events
from speedtrap_graph.store.database import Store


@dataclass(frozen=True)
class Services:
    store: Store
    clock: Clock
    ingest: Ingest
    browse: Browse
    plans: Plans
    ledger: Ledger
    events: Events
    timing: Timing = field(default_factory=Timing)
    callers: Callers = field(default_factory=Gateway)
