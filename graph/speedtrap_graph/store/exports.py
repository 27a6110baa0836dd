"""How far each exporter has come, and which copy of the service is at work for it.

A lease by the database's clock: whoever dies while holding it is in the way until it ends. What is
written under it names its holder, so that a copy that lost it cannot set the place back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from speedtrap_graph.store.database import Row, Store

COLLECTION = "exports"
LEASE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Place:
    """`token` is the change stream's, behind the last run that was exported. `at` is a moment (by
    the database's clock) up to which all was: with it goes on who can no longer use the token.
    """

    token: Mapping[str, Any] | None = None
    at: datetime | None = None


async def claim(store: Store, exporter: str, holder: str) -> Place | None:
    """The lease, anew or renewed; None while another copy has it."""
    is_free = {"$lte": [{"$ifNull": ["$until", "$$NOW"]}, "$$NOW"]}
    mine = {"$eq": ["$holder", holder]}
    taken: Row = {
        "holder": holder,
        "until": {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": LEASE_MS}},
    }
    # An upsert's predicate takes no $expr: decide in the update, and look who has it then.
    whole = {"$mergeObjects": ["$$ROOT", taken]}
    update = [{"$replaceWith": {"$cond": [{"$or": [is_free, mine]}, whole, "$$ROOT"]}}]
    try:
        row = await store[COLLECTION].find_one_and_update(
            {"_id": exporter}, update, upsert=True, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:
        return None  # two first starts at once: the other made the document
    if row is None or row.get("holder") != holder:
        return None
    return Place(row.get("token"), row.get("at"))


async def save(store: Store, exporter: str, holder: str, place: Place) -> bool:
    """False where the lease is no longer *holder*'s."""
    fields: Row = {"token": place.token, "at": place.at}
    mine = {"_id": exporter, "holder": holder}
    return (await store[COLLECTION].update_one(mine, {"$set": fields})).matched_count == 1


async def release(store: Store, exporter: str, holder: str) -> None:
    mine = {"_id": exporter, "holder": holder}
    await store[COLLECTION].update_one(mine, {"$unset": {"holder": "", "until": ""}})
