"""One transaction that takes runs in: which are new, how they are judged, what they change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pymongo import UpdateOne

from speedtrap_graph.services.breaches.reconcile import Reconciler, later, newest_of
from speedtrap_graph.services.breaches.rejudge import is_current, set_back
from speedtrap_graph.services.history.rollups import marks_of
from speedtrap_graph.services.intake.batches import Waiting
from speedtrap_graph.services.intake.submission import Submission
from speedtrap_graph.services.intake.validate import (
    Rejection,
)
from speedtrap_graph.services.judging.observations import judged
from speedtrap_graph.services.judging.standards import Standards, load_standards
from speedtrap_graph.services.probes.silence import heard_of
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.past_runs import PAST_RUNS
from speedtrap_graph.store.probes import (
    LEAVING,
    TOMBSTONES,
    bump_probes,
)
from speedtrap_graph.store.rollups import MARKS
from speedtrap_graph.timestamps import format_moment

_EVERYWHERE = ("runs", TOMBSTONES, PAST_RUNS)
"""Where a run may be, or have been, once some are no longer kept."""
_STANDARDS_KEPT = 10_000
"""Of so many probes, at some 10 kB each; of more, those that came first are read again."""

Indexed = tuple[int, Row]
Taken = tuple[Submission, bool]
"""What became of one probe's runs, and whether its breaches are up to date."""
Item = Waiting[Indexed, Taken]


@dataclass
class Memory:
    """What this process need not read again: standards of probes, held against their versions; and
    whether any run was ever deleted.
    """

    standards: dict[str, Standards] = field(default_factory=dict)
    deleted: bool = False

    def keep(self, probe: str, standards: Standards) -> None:
        if len(self.standards) >= _STANDARDS_KEPT:
            del self.standards[next(iter(self.standards))]
        self.standards[probe] = standards

    def forget(self, probes: Iterable[str]) -> None:
        for probe in probes:
            self.standards.pop(probe, None)


@dataclass
class _Lot:
    """What goes in of one probe, whose document is *document*."""

    document: Row
    standards: Standards
    current: bool
    rows: list[Row] = field(default_factory=list)


@dataclass
class Turn:
    """One transaction on *probes*. *others* are the ids that are known to be other probes', if that
    is known: then there is one probe only, and its name leads to its shard.
    """

    store: Store
    session: Session
    probes: Sequence[str]
    now: datetime
    memory: Memory
    others: Mapping[UUID, str] | None

    async def begin(self) -> list[Row]:
        """The probes' documents. From here on no other transaction can be in the way."""
        return await bump_probes(self.store, self.session, self.probes)

    async def take(
        self, group: Sequence[Item], documents: Sequence[Row], *, careful: bool
    ) -> list[Taken]:
        """With *careful*, looks first which runs are here; otherwise a duplicate is an error.
        Where all are newer than any before, as nearly always, there is none to look for.

        Deleted runs raise no such error: their tombstones, few as they are, are always looked at.
        """
        careful = careful or _may_be_here(group, documents)
        past = any("raw_since" in document for document in documents)
        owners = await self._owners(ids_of(group), careful=careful, past=past)
        lots = {document["_id"]: await self._lot(document) for document in documents}
        results: list[Submission] = []
        for item in group:
            result, lot = Submission(), lots[item.probe]
            for run in _sort_out(item, lot.document, owners, result):
                # A copy: the transaction may be tried again, and judge by something else.
                row = {**run, "received_at": self.now, **judged(run, lot.standards)}
                lot.rows.append(row)
            results.append(result)
        await self._insert([lot for lot in lots.values() if lot.rows])
        return [
            (result, lots[item.probe].current) for item, result in zip(group, results, strict=True)
        ]

    async def _lot(self, document: Row) -> _Lot:
        """The standards that the probe's history is judged by need not be read again."""
        probe = document["_id"]
        known = self.memory.standards.get(probe)
        if known is None or not is_current(document, known):
            known = await load_standards(self.store, probe, self.session)
            self.memory.keep(probe, known)
        return _Lot(document, known, is_current(document, known))

    async def _insert(self, lots: Sequence[_Lot]) -> None:
        if not lots:
            return
        rows = [row for lot in lots for row in lot.rows]
        await self.store["runs"].insert_many(rows, session=self.session)
        marks = [
            mark
            for lot in lots
            for mark in marks_of(lot.document["_id"], [row["started_at"] for row in lot.rows])
        ]
        await self.store[MARKS].insert_many(marks, session=self.session)
        updates = [
            UpdateOne({"_id": lot.document["_id"]}, await self._update_of(lot)) for lot in lots
        ]
        await self.store["probes"].bulk_write(updates, session=self.session)

    async def _update_of(self, lot: _Lot) -> Row:
        """Of the probe's document, once the breaches are those that its runs call for."""
        document, rows, probe = lot.document, lot.rows, lot.document["_id"]
        oldest = min(row["started_at"] for row in rows)
        if lot.current:
            reconciler = Reconciler(
                self.store, self.session, probe, lot.standards, self.now,
                raw_since=document.get("raw_since"),
            )  # fmt: skip
            fields = await reconciler.take(document, rows)
        else:
            fields = {"newest": later(document, rows)} | set_back(document, oldest)
        return {
            "$inc": {"run_count": len(rows)},
            "$min": {"first_run_at": oldest},
            "$max": {"last_seen_at": self.now},
            "$set": fields,
            **await heard_of(self.store, self.session, document, self.now),
        }

    async def _owners(self, ids: Sequence[UUID], *, careful: bool, past: bool) -> dict[UUID, str]:
        """Whose the runs are that were, and with *careful* those that are, here already. With
        *past*, some of them may no longer be kept.
        """
        owners = dict(self.others or {})
        if past:
            for collection in _EVERYWHERE:
                owners |= await self._owners_in(collection, ids)
            return owners
        if careful:
            owners |= await self._owners_in("runs", ids)
        if not self.memory.deleted:
            one = self.store[TOMBSTONES].find_one({}, {"_id": 1}, session=self.session)
            self.memory.deleted = await one is not None
        if self.memory.deleted:
            owners |= await self._owners_in(TOMBSTONES, ids)
        return owners

    async def _owners_in(self, collection: str, ids: Sequence[UUID]) -> dict[UUID, str]:
        wanted: Row = {"_id": {"$in": ids}}
        if self.others is not None:
            wanted["probe"] = self.probes[0]
        found = self.store[collection].find(wanted, {"probe": 1}, session=self.session)
        return {row["_id"]: row["probe"] async for row in found}


def _may_be_here(group: Sequence[Item], documents: Sequence[Row]) -> bool:
    """Whether any run is not newer than all that its probe has: so is one that comes again."""
    newest = {
        document["_id"]: known[0]
        for document in documents
        if (known := newest_of(document)) is not None
    }
    return any(
        item.probe in newest
        and min(run["started_at"] for _, run in item.runs) <= newest[item.probe]
        for item in group
    )


def _sort_out(item: Item, document: Row, owners: dict[UUID, str], result: Submission) -> list[Row]:
    """Which runs are new, which are or were here already, and which bear another probe's id, or are
    so old that their hour is closed.
    """
    if LEAVING in document:
        result.rejected += [_leaving(run, index) for index, run in item.runs]
        return []
    raw_since: datetime | None = document.get("raw_since")
    fresh: list[Row] = []
    for index, run in item.runs:
        run_id = run["_id"]
        owner = owners.get(run_id)
        if owner is None and raw_since is not None and run["started_at"] < raw_since:
            result.rejected.append(_too_old(run, index, raw_since))
        elif owner is None:
            owners[run_id] = item.probe
            fresh.append(run)
            result.accepted.append(run_id)
        elif owner == item.probe:
            result.duplicates.append(run_id)
        else:
            message = "another probe has submitted a run with this id"
            result.rejected.append(Rejection(str(run_id), index, "id", message))
    return fresh


def _leaving(run: Row, index: int) -> Rejection:
    name = run["probe"]
    message = f"{name!r} is being deleted with all its runs, and takes no more until that ends"
    return Rejection(str(run["_id"]), index, "probe", message)


def _too_old(run: Row, index: int, raw_since: datetime) -> Rejection:
    message = (
        f"lies before {format_moment(raw_since)}: older runs of {run['probe']!r} have been rolled "
        "up and are no longer kept one by one, so none can be added to them; allowed is that "
        "moment or later"
    )
    return Rejection(str(run["_id"]), index, "startedAt", message)


def ids_of(group: Sequence[Item]) -> list[UUID]:
    return [run["_id"] for item in group for _, run in item.runs]
