"""Takes runs in: each once, judged in the same transaction that stores it."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from weakref import WeakValueDictionary

from pymongo.errors import BulkWriteError, DuplicateKeyError

from speedtrap_graph.services.clock import Clock
from speedtrap_graph.services.errors import BadInputError
from speedtrap_graph.services.facts import judged
from speedtrap_graph.services.heartbeats import heard_of
from speedtrap_graph.services.moments import format_moment
from speedtrap_graph.services.reconcile import Reconciler, later
from speedtrap_graph.services.rejudge import Rejudge, is_current, set_back
from speedtrap_graph.services.rollups import mark
from speedtrap_graph.services.standards import Standards, load_standards
from speedtrap_graph.services.submission import (
    MAX_BATCH,
    Rejection,
    SubmittedRun,
    validate,
)
from speedtrap_graph.services.tally import Tally
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.past_runs import PAST_RUNS
from speedtrap_graph.store.probes import (
    LEAVING,
    TOMBSTONES,
    ProbeVanishedError,
    bump_probe,
    ensure_probe,
)
from speedtrap_graph.store.shards import claim_ids

_RACES = 5
"""How often the same id may arrive elsewhere between our look and our insert."""
_DUPLICATE_KEY = 11000
_EVERYWHERE = ("runs", TOMBSTONES, PAST_RUNS)
"""Where a run may be, or have been, once some are no longer kept."""
_STANDARDS_KEPT = 10_000
"""Of so many probes, at some 10 kB each; of more, those that came first are read again."""

Indexed = tuple[int, SubmittedRun]


@dataclass
class Submission:
    """What became of a batch."""

    accepted: list[UUID] = field(default_factory=list)
    duplicates: list[UUID] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(eq=False)
class _Waiting:
    """One caller's runs of one probe, and what became of them once that is known."""

    runs: list[Indexed]
    done: Submission | None = None


@dataclass(eq=False)
class _Lane:
    """The submissions of one probe in this process. Transactions on one probe would only abort each
    other: so one is under way, and all that came meanwhile are one more.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[_Waiting] = field(default_factory=list)

    def next_group(self) -> list[_Waiting]:
        """In the order of arrival, about as much as one batch may be."""
        group: list[_Waiting] = []
        size = 0
        for item in self.waiting:
            size += len(item.runs)
            if group and size > MAX_BATCH:
                break
            group.append(item)
        return group


@dataclass
class Ingest:
    store: Store
    clock: Clock
    tally: Tally = field(default_factory=Tally)
    _lanes: WeakValueDictionary[str, _Lane] = field(default_factory=WeakValueDictionary)
    _standards: dict[str, Standards] = field(default_factory=dict)
    is_cluster: bool | None = None
    """Whether runs lie on several shards; None: to be asked."""

    async def submit(self, raw_runs: Sequence[object], only_probe: str | None) -> Submission:
        """Stores what is good. *only_probe* is the one name that this caller may submit for."""
        if len(raw_runs) > MAX_BATCH:
            raise BadInputError(
                f"{len(raw_runs)} runs are too many for one batch: at most {MAX_BATCH}",
                field="runs",
            )
        good, rejected = validate(raw_runs, self.clock())
        result = Submission(rejected=rejected)
        by_probe: dict[str, list[Indexed]] = defaultdict(list)
        for index, run in good:
            if only_probe is not None and run.probe != only_probe:
                message = f"this key may submit for {only_probe!r} only"
                result.rejected.append(Rejection(str(run.id), index, "probe", message))
            else:
                by_probe[run.probe].append((index, run))
        for probe, runs in by_probe.items():
            part = await self._store(probe, runs)
            result.accepted += part.accepted
            result.duplicates += part.duplicates
            result.rejected += part.rejected
        result.rejected.sort(key=lambda rejection: rejection.index)
        self.tally.add(result)
        return result

    async def _store(self, probe: str, runs: list[Indexed]) -> Submission:
        lane = self._lanes.setdefault(probe, _Lane())
        mine = _Waiting(runs)
        lane.waiting.append(mine)
        try:
            async with lane.lock:
                while mine.done is None:
                    await self._store_group(probe, lane.next_group())
                    lane.waiting = [item for item in lane.waiting if item.done is None]
        finally:
            # Whoever is left waiting goes on without this one.
            if mine in lane.waiting:
                lane.waiting.remove(mine)
        return mine.done

    async def _store_group(self, probe: str, group: list[_Waiting]) -> None:
        if probe not in self._standards:
            # Made beforehand, so that a duplicate key in the transaction can only be a run's.
            await ensure_probe(self.store, probe)
            if len(self._standards) >= _STANDARDS_KEPT:
                del self._standards[next(iter(self._standards))]
        others = await self._others(probe, [run.id for item in group for _, run in item.runs])
        found, current = await self._in_transaction(probe, group, others)
        if not current:
            await Rejudge(self.store, self.clock).probe(probe)
        for item, part in zip(group, found, strict=True):
            item.done = part

    async def _others(self, probe: str, ids: list[UUID]) -> Mapping[UUID, str] | None:
        """On a cluster those of *ids* that are other probes'; elsewhere `_id` itself tells."""
        if self.is_cluster is None:
            self.is_cluster = await self.store.is_cluster()
        if not self.is_cluster:
            return None
        owners = await claim_ids(self.store, probe, ids)
        return {run_id: owner for run_id, owner in owners.items() if owner != probe}

    async def _in_transaction(
        self, probe: str, group: list[_Waiting], others: Mapping[UUID, str] | None
    ) -> tuple[list[Submission], bool]:
        """What became of each of *group*, and whether the breaches are up to date."""
        careful = False

        async def work(session: Session) -> tuple[list[Submission], bool]:
            turn = _Turn(self.store, session, probe, self.clock(), self._standards, others)
            return await turn.take([item.runs for item in group], careful=careful)

        for _ in range(_RACES):
            try:
                return await self.store.transaction(work)
            except ProbeVanishedError:
                # It was deleted meanwhile: this is its first run.
                self._standards.pop(probe, None)
                await ensure_probe(self.store, probe)
            except (DuplicateKeyError, BulkWriteError) as error:
                if not _is_duplicate(error):
                    raise
                careful = True
        return await self.store.transaction(work)


@dataclass
class _Turn:
    """One transaction on one probe. *cache* has the standards of probes, as last read; *others* are
    the ids that are known to be other probes', if that is known.
    """

    store: Store
    session: Session
    probe: str
    now: datetime
    cache: dict[str, Standards]
    others: Mapping[UUID, str] | None = None

    async def take(
        self, batches: Sequence[list[Indexed]], *, careful: bool
    ) -> tuple[list[Submission], bool]:
        """With *careful*, looks first which runs are here; otherwise a duplicate is an error.

        Deleted runs raise no such error: their tombstones, few as they are, are always looked at.
        """
        document = await bump_probe(self.store, self.session, self.probe)
        ids = [run.id for runs in batches for _, run in runs]
        raw_since: datetime | None = document.get("raw_since")
        where = ("runs", TOMBSTONES) if careful else (TOMBSTONES,)
        owners = await self._owners(ids, where if raw_since is None else _EVERYWHERE)
        results = [Submission() for _ in batches]
        fresh: list[SubmittedRun] = []
        for result, runs in zip(results, batches, strict=True):
            if LEAVING in document:
                result.rejected += [_leaving(run, index) for index, run in runs]
            else:
                fresh += self._sort_out(runs, owners, result, raw_since)
        standards = await self._standards_for(document)
        current = is_current(document, standards)
        if fresh:
            await self._insert(document, [run.row() for run in fresh], standards, current)
        return results, current

    async def _standards_for(self, document: Row) -> Standards:
        """Those that the probe's history is judged by need not be read again."""
        known = self.cache.get(self.probe)
        if known is None or not is_current(document, known):
            known = self.cache[self.probe] = await load_standards(
                self.store, self.probe, self.session
            )
        return known

    async def _insert(
        self, document: Row, rows: list[Row], standards: Standards, current: bool
    ) -> None:
        for row in rows:
            row["received_at"] = self.now
            row.update(judged(row, standards))
        await self.store["runs"].insert_many(rows, session=self.session)
        moments = [row["started_at"] for row in rows]
        await mark(self.store.database, self.session, self.probe, moments)
        if current:
            reconciler = Reconciler(
                self.store, self.session, self.probe, standards, self.now,
                raw_since=document.get("raw_since"),
            )  # fmt: skip
            fields = await reconciler.take(document, rows)
        else:
            fields = {"newest": later(document, rows)} | set_back(document, min(moments))
        await self.store["probes"].update_one(
            {"_id": self.probe},
            {
                "$inc": {"run_count": len(rows)},
                "$min": {"first_run_at": min(moments)},
                "$max": {"last_seen_at": self.now},
                "$set": fields,
                **await heard_of(self.store, self.session, document, self.now),
            },
            session=self.session,
        )

    async def _owners(
        self, ids: list[UUID], collections: tuple[str, ...]
    ) -> dict[UUID, str | None]:
        """Whose the runs are that are, or were, here already."""
        owners: dict[UUID, str | None] = dict(self.others or {})
        wanted: Row = {"_id": {"$in": ids}}
        if self.others is not None:
            wanted["probe"] = self.probe  # which leads to its shard
        for collection in collections:
            found = self.store[collection].find(wanted, {"probe": 1}, session=self.session)
            owners |= {row["_id"]: row["probe"] async for row in found}
        return owners

    def _sort_out(
        self,
        runs: list[Indexed],
        owners: dict[UUID, str | None],
        result: Submission,
        raw_since: datetime | None,
    ) -> list[SubmittedRun]:
        """Which runs are new, which are or were here already, and which bear another probe's id, or
        are so old that their hour is closed.
        """
        fresh: list[SubmittedRun] = []
        for index, run in runs:
            owner = owners.setdefault(run.id, None)
            if owner is None and raw_since is not None and run.started_at < raw_since:
                result.rejected.append(_too_old(run, index, raw_since))
            elif owner is None:
                owners[run.id] = self.probe
                fresh.append(run)
                result.accepted.append(run.id)
            elif owner == self.probe:
                result.duplicates.append(run.id)
            else:
                message = "another probe has submitted a run with this id"
                result.rejected.append(Rejection(str(run.id), index, "id", message))
        return fresh


def _leaving(run: SubmittedRun, index: int) -> Rejection:
    message = f"{run.probe!r} is being deleted with all its runs, and takes no more until that ends"
    return Rejection(str(run.id), index, "probe", message)


def _too_old(run: SubmittedRun, index: int, raw_since: datetime) -> Rejection:
    message = (
        f"lies before {format_moment(raw_since)}: older runs of {run.probe!r} have been rolled up "
        "and are no longer kept one by one, so none can be added to them; allowed is that moment "
        "or later"
    )
    return Rejection(str(run.id), index, "startedAt", message)


def _is_duplicate(error: DuplicateKeyError | BulkWriteError) -> bool:
    if isinstance(error, DuplicateKeyError):
        return True
    problems = (error.details or {}).get("writeErrors", [])
    return any(problem.get("code") == _DUPLICATE_KEY for problem in problems)
