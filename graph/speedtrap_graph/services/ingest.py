"""Takes runs in: each once, judged in the same transaction that stores it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from weakref import WeakValueDictionary

from pymongo.errors import DuplicateKeyError

from speedtrap_graph.services.clock import Clock
from speedtrap_graph.services.deletion import TOMBSTONES
from speedtrap_graph.services.errors import BadInputError
from speedtrap_graph.services.facts import judged
from speedtrap_graph.services.reconcile import Reconciler
from speedtrap_graph.services.rollups import mark
from speedtrap_graph.services.standards import load_standards
from speedtrap_graph.services.submission import (
    MAX_BATCH,
    Rejection,
    SubmittedRun,
    validate,
)
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.probes import bump_probe, ensure_probe

_RACES = 5
"""How often the same id may arrive elsewhere between our look and our insert."""

Indexed = tuple[int, SubmittedRun]


@dataclass
class Submission:
    """What became of a batch."""

    accepted: list[UUID] = field(default_factory=list)
    duplicates: list[UUID] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


@dataclass
class Ingest:
    store: Store
    clock: Clock
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _known: set[str] = field(default_factory=set)

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
            await self._store(probe, runs, result)
        result.rejected.sort(key=lambda rejection: rejection.index)
        return result

    async def _store(self, probe: str, runs: list[Indexed], result: Submission) -> None:
        if probe not in self._known:
            # Made beforehand, so that a duplicate key in the transaction can only be a run's.
            await ensure_probe(self.store, probe)
            self._known.add(probe)
        # Transactions on one probe would only abort each other: let them queue here instead.
        lock = self._locks.setdefault(probe, asyncio.Lock())
        async with lock:
            part = await self._in_transaction(probe, runs)
        result.accepted += part.accepted
        result.duplicates += part.duplicates
        result.rejected += part.rejected

    async def _in_transaction(self, probe: str, runs: list[Indexed]) -> Submission:
        async def work(session: Session) -> Submission:
            return await self._judge_and_insert(session, probe, runs)

        for _ in range(_RACES - 1):
            try:
                return await self.store.transaction(work)
            except DuplicateKeyError:
                continue
        return await self.store.transaction(work)

    async def _judge_and_insert(
        self, session: Session, probe: str, runs: list[Indexed]
    ) -> Submission:
        now = self.clock()
        await bump_probe(self.store, session, probe)
        fresh, result = await self._sort_out(session, probe, runs)
        if not fresh:
            return result
        standards = await load_standards(self.store, probe, session)
        rows: list[Row] = []
        for run in fresh:
            row = run.row()
            row["received_at"] = now
            row |= judged(row, standards)
            rows.append(row)
        await self.store["runs"].insert_many(rows, session=session)
        moments = [row["started_at"] for row in rows]
        await mark(self.store.database, session, probe, moments)
        await self._count(session, probe, rows, now)
        changed = [(row["started_at"], row["_id"]) for row in rows]
        await Reconciler(self.store, session, probe, standards, now).around(changed)
        return result

    async def _sort_out(
        self, session: Session, probe: str, runs: list[Indexed]
    ) -> tuple[list[SubmittedRun], Submission]:
        """Which runs are new, which are or were here already, and which bear another probe's id."""
        wanted = {"_id": {"$in": [run.id for _, run in runs]}}
        owners: dict[UUID, str | None] = {}
        for collection in ("runs", TOMBSTONES):
            stored = self.store[collection].find(wanted, {"probe": 1}, session=session)
            owners |= {row["_id"]: row["probe"] async for row in stored}
        result = Submission()
        fresh: list[SubmittedRun] = []
        for index, run in runs:
            owner = owners.setdefault(run.id, None)
            if owner is None:
                owners[run.id] = probe
                fresh.append(run)
                result.accepted.append(run.id)
            elif owner == probe:
                result.duplicates.append(run.id)
            else:
                message = "another probe has submitted a run with this id"
                result.rejected.append(Rejection(str(run.id), index, "id", message))
        return fresh, result

    async def _count(self, session: Session, probe: str, rows: list[Row], now: datetime) -> None:
        await self.store["probes"].update_one(
            {"_id": probe},
            {
                "$inc": {"run_count": len(rows)},
                "$min": {"first_run_at": min(row["started_at"] for row in rows)},
                "$max": {"last_seen_at": now},
            },
            session=session,
        )
