"""What the settings make: who is known, the services, and the terms of sending."""

from datetime import timedelta

from speedtrap_graph.api.services import Services
from speedtrap_graph.clock import system_clock
from speedtrap_graph.http.callers import Callers, Gateway, KeyFile
from speedtrap_graph.http.trusted import TrustedDocuments, read_documents
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.notices.ledger import Ledger
from speedtrap_graph.services.notices.records import Terms
from speedtrap_graph.services.read.browse import Browse
from speedtrap_graph.services.read.events import Events
from speedtrap_graph.settings import GraphSettings
from speedtrap_graph.store.database import Store


def callers_of(settings: GraphSettings) -> Callers:
    keys = None if settings.keys_file is None else KeyFile(settings.keys_file)
    if keys is None or settings.callers == "gateway":
        return Gateway(keys, settings.known_gateway_secret)
    return keys


def services_of(store: Store, settings: GraphSettings, callers: Callers) -> Services:
    return Services(
        store=store,
        clock=system_clock,
        ingest=Ingest(store, system_clock),
        browse=Browse(store),
        plans=Plans(store, system_clock),
        ledger=Ledger(store, system_clock, _terms(settings)),
        events=Events(store),
        callers=callers,
    )


def _terms(settings: GraphSettings) -> Terms:
    return Terms(
        auto_approve=settings.auto_approve_channels,
        owner_channels=settings.owner_channel_names,
        claim_lease=timedelta(seconds=settings.claim_lease_seconds),
        sending_lease=timedelta(seconds=settings.sending_lease_seconds),
        check_after=timedelta(seconds=settings.check_after_seconds),
    )


def documents_of(settings: GraphSettings) -> TrustedDocuments | None:
    """What a viewer's key may run; None: anything."""
    listed = settings.trusted_documents
    return None if listed is None else read_documents(listed)
