"""The probes' documents, which put everything that happens to a probe in one order."""

from pymongo.errors import OperationFailure

from speedtrap_graph.store.database import Session, Store


async def ensure_probe(store: Store, name: str) -> None:
    """By `_id` with `$setOnInsert`: concurrent calls make one document and raise nothing."""
    await store["probes"].update_one(
        {"_id": name}, {"$setOnInsert": {"seq": 0, "run_count": 0}}, upsert=True
    )


async def bump_probe(store: Store, session: Session, name: str) -> None:
    """First in every transaction on a probe: of two at once, one waits for the other."""
    done = await store["probes"].update_one({"_id": name}, {"$inc": {"seq": 1}}, session=session)
    if done.matched_count != 1:
        raise OperationFailure(f"the document of probe {name} has vanished")
