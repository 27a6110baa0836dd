"""How far each exporter has come, and which copy of the service is at work for it.

A lease by the database's clock: whoever dies while holding it is in the way until it ends. What is
written under it names its holder, so that a copy that lost it cannot set the place back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from speedtrap_graph.store import leases
from speedtrap_graph.store.database import Row, Store

COLLECTION = "exports"
LEASE_MS = leases.LEASE_MS


@dataclass(frozen=True, slots=True)
class Place:
    """`token` is the change stream's, behind the last run that was exported. `at` is a moment (by
    the database's clock) up to which all was: with it goes on who can no longer use the token.
    """

    token: Mapping[str, Any] | None = None
    at: datetime | None = None


async def claim(store: Store, exporter: str, holder: str) -> Place | None:
    """The lease, anew or renewed; None while another copy has it."""
    row = await leases.claim(store[COLLECTION], exporter, holder)
    return None if row is None else Place(row.get("token"), row.get("at"))


async def save(store: Store, exporter: str, holder: str, place: Place) -> bool:
    """False where the lease is no longer *holder*'s."""
    fields: Row = {"token": place.token, "at": place.at}
    mine = {"_id": exporter, "holder": holder}
    return (await store[COLLECTION].update_one(mine, {"$set": fields})).matched_count == 1


async def release(store: Store, exporter: str, holder: str) -> None:
    await leases.release(store[COLLECTION], exporter, holder)
