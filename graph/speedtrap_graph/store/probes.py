"""The probes' documents, which put everything that happens to a probe in one order.

Each also says how far its runs are judged:

- `judged_by`: the versions of the standards (those for every probe, and its own) that all of its
  breaches follow from.
- `tails`: where each rule stands after the newest run, so that the next one needs no look back; a
  rule that is not among them has nothing to remember. Absent: unknown.
- `newest`: the key of the newest run, `at` and `id`.
- `rejudging`: there while its history is being judged by other standards, `version`. Runs that
  started before `behind` (null: none) are done, and `tails` say where the rules stand there.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pymongo.errors import OperationFailure

from speedtrap_graph.store.database import Row, Session, Store

EVERY_PROBE = "*"
VERSIONS = "standard_versions"
TOMBSTONES = "deleted_runs"
"""What is left of runs that were deleted, by their ids, so that none comes back."""

LEAVING = "leaving"
"""There while the probe is being deleted: it takes no runs."""

Version = tuple[int, int]
"""Of the standards for every probe, and of those of one probe."""
RunKey = tuple[datetime, UUID]


class ProbeVanishedError(OperationFailure):
    """It was deleted since somebody saw it."""


async def ensure_probe(store: Store, name: str) -> None:
    """By `_id` with `$setOnInsert`: concurrent calls make one document and raise nothing."""
    judged_by = list(await version_of(store, name))
    # A change of the standards between the two leaves a version that somebody will see is old.
    new = {"seq": 0, "run_count": 0, "judged_by": judged_by, "tails": []}
    await store["probes"].update_one({"_id": name}, {"$setOnInsert": new}, upsert=True)


async def bump_probe(store: Store, session: Session, name: str) -> Row:
    """First in every transaction on a probe: of two at once, one waits for the other."""
    probe = await store["probes"].find_one_and_update(
        {"_id": name}, {"$inc": {"seq": 1}}, return_document=True, session=session
    )
    if probe is None:
        raise ProbeVanishedError(f"the document of probe {name} has vanished")
    return probe


async def bump_probes(store: Store, session: Session, names: Sequence[str]) -> list[Row]:
    """As `bump_probe`, of several. In the order of their names, so that of two transactions with
    some in common one gets through.
    """
    if len(names) == 1:
        return [await bump_probe(store, session, names[0])]
    these = {"_id": {"$in": sorted(names)}}
    await store["probes"].update_many(these, {"$inc": {"seq": 1}}, session=session)
    found = await store["probes"].find(these, session=session).to_list()
    if len(found) != len(names):
        raise ProbeVanishedError(f"of the documents of {len(names)} probes, some have vanished")
    return found


async def version_of(store: Store, probe: str, session: Session | None = None) -> Version:
    """Which plans and rules are in force for *probe*."""
    found = await seqs_of(store, [probe], session)
    return found.get(EVERY_PROBE, 0), found.get(probe, 0)


async def seqs_of(
    store: Store, probes: Sequence[str], session: Session | None = None
) -> dict[str, int]:
    """The versions of their own standards, and of those for every probe, where there are any."""
    rows = store[VERSIONS].find({"_id": {"$in": [EVERY_PROBE, *probes]}}, session=session)
    return {row["_id"]: int(row["seq"]) async for row in rows}


async def raise_version(store: Store, session: Session, probe: str | None) -> None:
    """In the transaction that changes plans or rules of *probe*, or of all."""
    await store[VERSIONS].update_one(
        {"_id": probe or EVERY_PROBE}, {"$inc": {"seq": 1}}, upsert=True, session=session
    )


async def probes_behind(store: Store) -> list[str]:
    """Those whose runs are not, or not all, judged by what is in force."""
    versions = {row["_id"]: int(row["seq"]) async for row in store[VERSIONS].find()}
    every = versions.get(EVERY_PROBE, 0)
    rows = store["probes"].find({}, {"judged_by": 1, "rejudging.version": 1})
    return [
        row["_id"]
        async for row in rows
        if row.get("judged_by") != [every, versions.get(row["_id"], 0)] or "rejudging" in row
    ]
