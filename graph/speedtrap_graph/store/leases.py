"""Work that one copy of the service does at a time: a lease by the database's clock.

Whoever dies while holding one is in the way until it ends, and nobody else's clock matters.
"""

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from speedtrap_graph.store.database import Row

LEASE_MS = 30_000


async def claim(collection: AsyncCollection[Row], key: str, holder: str) -> Row | None:
    """The document with the lease, anew or renewed; None while another copy has it."""
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
        row = await collection.find_one_and_update(
            {"_id": key}, update, upsert=True, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:
        return None  # two first starts at once: the other made the document
    return row if row is not None and row.get("holder") == holder else None


async def release(collection: AsyncCollection[Row], key: str, holder: str) -> None:
    mine = {"_id": key, "holder": holder}
    await collection.update_one(mine, {"$unset": {"holder": "", "until": ""}})
