"""What another plan or rule would change, before it does: nothing here writes.

Every run of the probes concerned is judged in memory as `rejudge` would, and the episodes are held
against the breaches on record.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from speedtrap_graph.rules.model import Episode
from speedtrap_graph.rules.permission import WAITING, Stage
from speedtrap_graph.rules.streaks import Tail
from speedtrap_graph.services.breaches.fields import change_of, is_stale
from speedtrap_graph.services.breaches.overlap import match
from speedtrap_graph.services.breaches.withdraw import MAY_BE_READ
from speedtrap_graph.services.judging.observations import judged, observation_of
from speedtrap_graph.services.judging.standards import Standards, choose, standard_rows
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import (
    RUNS_OF_A_PROBE,
    BreachDocument,
    NoticeDocument,
    RuleDocument,
)

MOST_CHANGES = 200
"""So many are listed; the counts are of all."""
_AT_ONCE = 1000
_LOOKED_AT = dict.fromkeys(
    (
        "started_at",
        "finished_at",
        "conditions",
        "measurements",
        "outcome",
        "best",
        "limits",
        "doubtful",
    ),
    1,
)

_FROM_JUDGING = ("outcome", "best", "limits", "doubtful")


class BreachChangeKind(StrEnum):
    APPEARS = "APPEARS"
    VANISHES = "VANISHES"
    CHANGES = "CHANGES"


@dataclass(frozen=True)
class Proposal:
    """What would be set or deleted for *probe*, or for all: rows by collection, and a rule's id."""

    probe: str | None
    set_plan: Row | None = None
    set_rule: Row | None = None
    delete_rule: str | None = None

    def standards_of(self, probe: str, plans: Iterable[Row], rules: Iterable[Row]) -> Standards:
        """Those of *probe* if it came so."""
        by_id = {row["_id"]: row for row in rules if row["_id"] != self.delete_rule}
        return choose(probe, _with(plans, self.set_plan), _with(by_id.values(), self.set_rule))


@dataclass(frozen=True)
class BreachChange:
    """`before` is None for one that appears, `after` for one that vanishes. `would_be_announced`
    is for one that appears: whether it would be news. `withdrawn` and `contradicted` are the
    notices about it that would be.
    """

    kind: BreachChangeKind
    probe: str
    rule: RuleDocument
    before: BreachDocument | None
    after: Episode | None
    would_be_announced: bool = False
    withdrawn: Sequence[NoticeDocument] = ()
    contradicted: Sequence[NoticeDocument] = ()


@dataclass
class Preview:
    """`runs_changed` counts the runs whose outcome or figures would be other ones."""

    probes: int = 0
    runs: int = 0
    runs_changed: int = 0
    changes: list[BreachChange] = field(default_factory=list)

    def count(self, kind: BreachChangeKind) -> int:
        return sum(change.kind is kind for change in self.changes)


@dataclass(frozen=True)
class Previewing:
    store: Store
    now: datetime

    async def of(self, proposal: Proposal) -> Preview:
        preview = Preview()
        wanted = {} if proposal.probe is None else {"_id": proposal.probe}
        fields = {"raw_since": 1}
        async for row in self.store["probes"].find(wanted, fields).sort("_id", 1):
            plans, rules = await standard_rows(self.store, row["_id"])
            await self._probe(row, proposal.standards_of(row["_id"], plans, rules), preview)
        return preview

    async def _probe(self, document: Row, standards: Standards, preview: Preview) -> None:
        """What lies before the runs that are kept stays as it is."""
        trial, probe = _Trial(standards), document["_id"]
        rows: list[Row] = []
        since = {} if "raw_since" not in document else {"$gte": document["raw_since"]}
        wanted: Row = {"probe": probe} | ({"started_at": since} if since else {})
        runs = self.store["runs"].find(wanted, _LOOKED_AT).hint(RUNS_OF_A_PROBE)
        async for row in runs.sort([("started_at", 1), ("_id", 1)]):
            rows.append(row)
            if len(rows) == _AT_ONCE:
                await asyncio.to_thread(trial.take, rows)
                rows = []
        await asyncio.to_thread(trial.take, rows)
        preview.probes += 1
        preview.runs += trial.runs
        preview.runs_changed += trial.changed
        known: Row = {"probe": probe, "status": {"$ne": "RETRACTED"}}
        if since:
            known["last_run_at"] = since
        stored = [
            BreachDocument.model_validate(row) async for row in self.store["breaches"].find(known)
        ]
        for key in sorted({*trial.tails, *(breach.rule_key for breach in stored)}):
            mine = [breach for breach in stored if breach.rule_key == key]
            preview.changes += await self._changes(probe, key, standards, trial.episodes(key), mine)

    async def _changes(
        self,
        probe: str,
        key: str,
        standards: Standards,
        found: Sequence[Episode],
        stored: Sequence[BreachDocument],
    ) -> list[BreachChange]:
        """Of the rule with *key*; without one, nothing is found, and what is stored falls."""
        matching, by_id = match(found, stored), {breach.id: breach for breach in stored}
        changes: list[BreachChange] = []
        for episode, breach_id in matching.pairs:
            before = None if breach_id is None else by_id[breach_id]
            rule, _ = standards.keyed_rules[key]
            if before is not None and change_of(before, episode, rule, standards) is None:
                continue
            changes.append(await self._change(probe, rule, before, episode))
        for breach_id in matching.fallen:
            breach = by_id[breach_id]
            own = RuleDocument.model_validate(breach.rule.model_dump())
            changes.append(await self._change(probe, own, breach, None))
        return changes

    async def _change(
        self,
        probe: str,
        rule: RuleDocument,
        before: BreachDocument | None,
        after: Episode | None,
    ) -> BreachChange:
        if before is None:
            news = after is not None and not is_stale(
                after.resolved_at is None, after.last_run_at, self.now
            )
            appears = BreachChangeKind.APPEARS
            return BreachChange(appears, probe, rule, None, after, would_be_announced=news)
        kind = BreachChangeKind.VANISHES if after is None else BreachChangeKind.CHANGES
        notices = await self._untrue(before, after)
        return BreachChange(
            kind,
            probe,
            rule,
            before,
            after,
            withdrawn=[notice for notice in notices if notice.status in WAITING],
            contradicted=[notice for notice in notices if notice.status in MAY_BE_READ],
        )

    async def _untrue(self, before: BreachDocument, after: Episode | None) -> list[NoticeDocument]:
        """The notices that say what would no longer be so."""
        about: Row = {"$or": [{"breach": before.id}, {"covers": before.id}]}
        wanted = about
        if after is not None:
            is_open, was_open = after.resolved_at is None, before.status == "OPEN"
            if is_open == was_open:
                return []
            say_over = [Stage.RECOVERY.value, Stage.DIGEST.value]
            wanted = about | {"stage": {"$in": say_over}}
            if was_open:
                wanted = about | {"stage": {"$nin": say_over}, "status": {"$in": sorted(WAITING)}}
        rows = self.store["notices"].find(wanted, {"attachments.content": 0})
        return [NoticeDocument.model_validate(row) async for row in rows]


@dataclass
class _Trial:
    """The runs of one probe, judged by *standards*, in order."""

    standards: Standards
    runs: int = 0
    changed: int = 0
    tails: dict[str, Tail] = field(default_factory=dict)
    _ended: dict[str, list[Episode]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tails = {key: Tail(rule) for key, (_, rule) in self.standards.keyed_rules.items()}

    def take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            fresh = judged(row, self.standards)
            self.runs += 1
            self.changed += any(row.get(name) != fresh.get(name) for name in _FROM_JUDGING)
            unjudged = {name: value for name, value in row.items() if name not in _FROM_JUDGING}
            judged_row = {**unjudged, **fresh}
            for key, tail in self.tails.items():
                seen = observation_of(judged_row, self.standards.pure_plans, tail.rule)
                if (ended := tail.take(seen)) is not None:
                    self._ended.setdefault(key, []).append(ended)

    def episodes(self, key: str) -> list[Episode]:
        running = self.tails[key].episode() if key in self.tails else None
        return [*self._ended.get(key, ()), *([] if running is None else [running])]


def _with(rows: Iterable[Row], new: Row | None) -> list[Row]:
    return [row for row in rows if new is None or row["_id"] != new["_id"]] + (
        [] if new is None else [new]
    )
