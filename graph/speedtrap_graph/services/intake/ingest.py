"""Takes runs in: each once, judged in the same transaction that stores it."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from pymongo.errors import BulkWriteError, DuplicateKeyError

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.services.intake.batches import Grouping
from speedtrap_graph.services.intake.moving import Moving
from speedtrap_graph.services.intake.submission import Submission
from speedtrap_graph.services.intake.submission_counts import SubmissionCounts
from speedtrap_graph.services.intake.turn import Indexed, Item, Memory, Taken, Turn, ids_of
from speedtrap_graph.services.intake.validate import (
    MAX_BATCH,
    Rejection,
    validate,
)
from speedtrap_graph.store.database import Session, Store
from speedtrap_graph.store.probes import (
    ProbeVanishedError,
    ensure_probe,
)
from speedtrap_graph.store.shards import claim_ids

_RACES = 5
"""How often the same id may arrive elsewhere between our look and our insert."""
_DUPLICATE_KEY = 11000
_TOGETHER = 500
"""Runs of several submissions in one transaction: with more each would hardly cost less."""


@dataclass
class Ingest:
    store: Store
    clock: Clock
    submission_counts: SubmissionCounts = field(default_factory=SubmissionCounts)
    is_cluster: bool | None = None
    """Whether runs lie on several shards; None: to be asked."""
    _memory: Memory = field(default_factory=Memory)
    _grouping: Grouping[Indexed, Taken] = field(init=False)

    def __post_init__(self) -> None:
        self._grouping = Grouping(self._store, _TOGETHER)

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
            if only_probe is not None and run["probe"] != only_probe:
                message = f"this key may submit for {only_probe!r} only"
                result.rejected.append(Rejection(str(run["_id"]), index, "probe", message))
            else:
                by_probe[run["probe"]].append((index, run))
        for probe, indexed in by_probe.items():
            await Moving(self.store, self.clock).make_way(probe, [run for _, run in indexed])
        if self.is_cluster is None:
            self.is_cluster = await self.store.is_cluster()
        # On a cluster, probes together would mean shards together, which cost each other.
        waiting = self._grouping.add(by_probe, alone=self.is_cluster)
        for probe, (part, current) in zip(by_probe, await asyncio.gather(*waiting), strict=True):
            if not current:
                await Rejudge(self.store, self.clock).probe(probe)
            result.accepted += part.accepted
            result.duplicates += part.duplicates
            result.rejected += part.rejected
        result.rejected.sort(key=lambda rejection: rejection.index)
        self.submission_counts.add(result)
        return result

    async def _store(self, group: list[Item]) -> Sequence[Taken]:
        """All of *group* in one transaction, and what joins it by the time it is its turn."""
        probes = sorted({item.probe for item in group})
        await self._ensure(probes)
        others = await self._others(group) if self.is_cluster else None
        careful = begun = False

        async def work(session: Session) -> Sequence[Taken]:
            nonlocal begun
            if begun:
                self._grouping.give_way(group)
            begun = True
            turn = Turn(self.store, session, probes, self.clock(), self._memory, others)
            documents = await turn.begin()
            if others is None:
                self._grouping.join(group)
            return await turn.take(group, documents, careful=careful)

        # What is in the way of one of several probes is not to hold up the others.
        again = len(probes) == 1
        for _ in range(_RACES):
            try:
                return await self.store.transaction(work, again=again)
            except ProbeVanishedError:
                # One was deleted meanwhile: this is its first run.
                self._memory.forget(probes)
                await self._ensure(probes)
            except (DuplicateKeyError, BulkWriteError) as error:
                if not _is_duplicate(error):
                    raise
                careful = True
        return await self.store.transaction(work, again=again)

    async def _ensure(self, probes: Sequence[str]) -> None:
        """Made beforehand, so that a duplicate key in the transaction can only be a run's."""
        for probe in probes:
            if probe not in self._memory.standards:
                await ensure_probe(self.store, probe)

    async def _others(self, group: Sequence[Item]) -> Mapping[UUID, str]:
        """On a cluster those ids that are other probes'; elsewhere `_id` itself tells."""
        probe = group[0].probe
        owners = await claim_ids(self.store, probe, ids_of(group))
        return {run_id: owner for run_id, owner in owners.items() if owner != probe}


def _is_duplicate(error: DuplicateKeyError | BulkWriteError) -> bool:
    if isinstance(error, DuplicateKeyError):
        return True
    problems = (error.details or {}).get("writeErrors", [])
    return any(problem.get("code") == _DUPLICATE_KEY for problem in problems)
