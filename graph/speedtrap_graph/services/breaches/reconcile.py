"""Makes a probe's stored breaches those that its runs call for. Runs inside a transaction.

Runs that are later than all before, as nearly all are, go on from where the rules stood after the
newest run (`Tail`, kept in the probe's document): nothing is read. For any other change a rule's
neighbourhood is read, from a point before which to a point after which nothing matters.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from pymongo import InsertOne, UpdateOne

from speedtrap_graph.rules.model import Episode, Observation, Rule
from speedtrap_graph.rules.streaks import ResetScan, Tail, fold, sort_key
from speedtrap_graph.services.breaches.fields import change_of, new_breach
from speedtrap_graph.services.breaches.overlap import match
from speedtrap_graph.services.breaches.withdraw import Withdrawal
from speedtrap_graph.services.judging.observations import observation_of, observed
from speedtrap_graph.services.judging.standards import Standards
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE, BreachDocument, RuleDocument
from speedtrap_graph.store.events import PendingEvent, append_events
from speedtrap_graph.store.probes import RunKey
from speedtrap_graph.store.tails import tail_rows, tails_of

_NEWEST_FIRST = [("started_at", -1), ("_id", -1)]
_OLDEST_FIRST = [("started_at", 1), ("_id", 1)]
_READ_AHEAD = 25
"""A reset is mostly a run or two away: the driver's 101 would be read for nothing."""
_MORE_EACH_TIME = 4
"""So many times as long is each further part: an outage may have lasted a year."""
_BRIDGED = 50
"""Reading on over so many runs costs less than beginning anew at the next change."""


@dataclass(frozen=True)
class Span:
    """A part of the line, both ends included; None: to the end."""

    first: RunKey | None
    last: RunKey | None


@dataclass(frozen=True)
class _Neighbourhood:
    """Observations between two resets; `span` goes to the ends of the line where there is none."""

    observations: list[Observation]
    span: Span
    rest: Sequence[RunKey]
    """The changes that lie beyond it."""


@dataclass
class _Onward:
    """Observations from the first change on, up to a reset behind which no other change is near."""

    rule: Rule
    ahead: deque[RunKey]
    to_the_end: bool
    found: list[Observation] = field(default_factory=list)
    scan: ResetScan = field(init=False)
    end: int | None = None
    """How many of `found` lead up to the reset behind the last change so far."""

    def __post_init__(self) -> None:
        self.scan = ResetScan(self.rule)

    def is_done_with(self, one: Observation) -> bool:
        """Takes *one*; whether that is enough."""
        key = sort_key(one)
        is_change = False
        while self.ahead and self.ahead[0] <= key:
            is_change = self.ahead.popleft() == key
            self.scan, self.end = ResetScan(self.rule), None
        self.found.append(one)
        if is_change or self.to_the_end:
            return False
        if self.end is None and self.scan.take(one):
            self.end = len(self.found)
        return self.end is not None and (not self.ahead or len(self.found) - self.end >= _BRIDGED)

    def result(self) -> tuple[list[Observation], RunKey | None, Sequence[RunKey]]:
        """The observations, the reset that they end with, and the changes beyond it."""
        if self.end is None:
            return self.found, None, ()
        return self.found[: self.end], sort_key(self.found[self.end - 1]), self.ahead


@dataclass
class Reconciler:
    """The breaches of one probe, in one transaction, at one moment.

    `because` is why a breach that falls does, in words that go with the notices about it.
    """

    store: Store
    session: Session
    probe: str
    standards: Standards
    now: datetime
    because: str = "a run that came late shows it"
    raw_since: datetime | None = None
    """Runs before then are not kept: what happened is closed, and nothing reaches back there."""
    more_follows: bool = False
    """Whether runs that are later than those of this transaction are yet to be judged."""
    _pending: list[PendingEvent] = field(default_factory=list)
    _changes: list[InsertOne[Row] | UpdateOne] = field(default_factory=list)
    """Of breaches, of which each is written once: all of them go at once, at the end."""

    async def take(self, document: Row, rows: Sequence[Row]) -> Row:
        """After new *rows* (judged, stored): what the probe's *document* is to say from now on."""
        in_order = sorted(rows, key=lambda row: (row["started_at"], row["_id"]))
        keys = [(row["started_at"], row["_id"]) for row in in_order]
        newest = newest_of(document)
        if "tails" not in document or (newest is not None and keys[0] < newest):
            return await self.around(document, keys)
        tails = tails_of(document["tails"], self.rules)
        for key in self.rules:
            await self.advance(key, tails[key], in_order)
        await self.announce()
        return {"tails": tail_rows(tails), "newest": newest_row(keys[-1])}

    async def around(self, document: Row, changed: Iterable[RunKey]) -> Row:
        """After runs came or went at *changed*: as `take`."""
        keys = sorted(changed)
        known = "tails" in document
        tails = tails_of(document.get("tails", ()), self.rules)
        for key, (rule_document, rule) in self.standards.keyed_rules.items():
            spans: list[Span] = []
            episodes: list[list[Episode]] = []
            rest: Sequence[RunKey] = keys
            while rest:
                near = await self._neighbourhood(rule, rest, to_the_end=not known)
                tail = Tail(rule)
                episodes.append(fold(near.observations, tail))
                spans.append(near.span)
                if near.span.last is None:
                    tails[key] = tail
                rest = near.rest
            stored = await self._starting_in(key, spans)
            for found, breaches in zip(episodes, stored, strict=True):
                await self._replace(rule_document, found, breaches)
        await self.announce()
        return {"tails": tail_rows(tails), "newest": await self._newest(document, keys[-1])}

    async def _newest(self, document: Row, changed: RunKey) -> Row | None:
        """The newest of all runs, after the newest of those that came or went was *changed*."""
        known = newest_of(document)
        if known is not None and changed < known:
            return newest_row(known)
        async with aclosing(self._runs(None, _NEWEST_FIRST, {"started_at": 1}, 1)) as rows:
            async for row in rows:
                return newest_row((row["started_at"], row["_id"]))
        return None

    @property
    def rules(self) -> dict[str, Rule]:
        return {key: rule for key, (_, rule) in self.standards.keyed_rules.items()}

    async def advance(
        self,
        key: str,
        tail: Tail,
        rows: Sequence[Row],
        others: Sequence[BreachDocument] | None = None,
    ) -> set[str]:
        """Takes *rows*, later than all that *tail* has seen. The ids of breaches that stand on.

        When the line is judged again, *others* are those that episodes of these rows may be,
        besides the one that is open.
        """
        document, rule = self.standards.keyed_rules[key]
        before = tail.running
        count = 0 if before is None else before.count
        plans = self.standards.pure_plans
        found = fold((observation_of(row, plans, rule) for row in rows), tail)
        known = None
        if before is not None:
            goes_on, found = found[0], found[1:]
            if others is None and goes_on.resolved_at is None and goes_on.count == count:
                return set()
            known = await self._known_by(key, before.first.run_id)
            if known is None:
                found = [goes_on, *found]
            else:
                await self._update(known, goes_on, document)
        mine = set() if known is None else {known.id}
        rest = [other for other in others or () if other.id not in mine]
        return mine | await self._replace(document, found, rest, keep=True)

    async def announce(self) -> None:
        """Writes everything that was found so far, and the events of it."""
        if self._changes:
            breaches = self.store["breaches"]
            await breaches.bulk_write(self._changes, ordered=False, session=self.session)
            self._changes.clear()
        await append_events(self.store, self.session, self._pending, self.now)
        self._pending.clear()

    async def stored(self, wanted: Row) -> list[BreachDocument]:
        """Breaches of this probe that stand, as they were before anything that is found here."""
        query = {"probe": self.probe, "status": {"$ne": "RETRACTED"}, **wanted}
        rows = self.store["breaches"].find(query, session=self.session)
        return [BreachDocument.model_validate(row) async for row in rows]

    async def retract(self, breach: BreachDocument) -> None:
        self._changes.append(UpdateOne({"_id": breach.id}, {"$set": {"status": "RETRACTED"}}))
        await self._withdrawal.fallen(breach.id, self.because)
        if not breach.stale:
            self._pending.append(PendingEvent("RETRACTED", breach.id, self.probe))

    async def tail_before(self, rule: Rule, moment: datetime) -> Tail:
        """Where *rule* stands after all runs that started before *moment*."""
        older = self._runs({"$lt": moment}, _NEWEST_FIRST, observed([rule]))
        async with aclosing(older):
            found, _ = await self._until_reset(rule, older, lambda _: True)
        tail = Tail(rule)
        fold(reversed(found), tail)
        return tail

    async def _neighbourhood(
        self, rule: Rule, changed: Sequence[RunKey], *, to_the_end: bool
    ) -> _Neighbourhood:
        """Of the first of *changed*, and of those that follow it closely.

        Runs of the same millisecond are told apart here: in a query it would cost an $or.
        """
        first, seen = changed[0], observed([rule])
        async with aclosing(self._runs({"$lte": first[0]}, _NEWEST_FIRST, seen)) as older:
            before, start = await self._until_reset(rule, older, lambda key: key < first)
        onward = _Onward(rule, deque(changed), to_the_end)
        async with aclosing(self._runs({"$gte": first[0]}, _OLDEST_FIRST, seen)) as newer:
            async for row in newer:
                one = observation_of(row, self.standards.pure_plans, rule)
                if sort_key(one) >= first and onward.is_done_with(one):
                    break
        after, end, rest = onward.result()
        return _Neighbourhood([*reversed(before), *after], Span(start, end), rest)

    async def _until_reset(
        self, rule: Rule, rows: AsyncIterable[Row], wanted: Callable[[RunKey], bool]
    ) -> tuple[list[Observation], RunKey | None]:
        """Observations up to the reset, and where it is; None when there is none."""
        scan = ResetScan(rule)
        found: list[Observation] = []
        async for row in rows:
            observation = observation_of(row, self.standards.pure_plans, rule)
            if not wanted(sort_key(observation)):
                continue
            found.append(observation)
            if scan.take(observation):
                return found, sort_key(observation)
        return found, None

    async def _runs(
        self,
        started_at: Row | None,
        order: list[tuple[str, int]],
        fields: dict[str, int],
        at_first: int = _READ_AHEAD,
    ) -> AsyncGenerator[Row]:
        """In parts that are read out, so that none leaves a cursor which costs a command to close;
        within a transaction they fit together.
        """
        query: Row = {"probe": self.probe}
        if started_at is not None:
            query["started_at"] = started_at
        if self.raw_since is not None:
            bounds = query.setdefault("started_at", {})
            query["started_at"] = bounds | {"$gte": later_of(bounds.get("$gte"), self.raw_since)}
        seen, size = 0, at_first
        while True:
            found = self.store["runs"].find(query, fields, session=self.session)
            # A batch just as long as the limit would leave the cursor open.
            part = found.sort(order).skip(seen).limit(size).batch_size(size + 1)
            rows = await part.hint(RUNS_OF_A_PROBE).to_list()
            for row in rows:
                yield row
            if len(rows) < size:
                return
            seen, size = seen + size, size * _MORE_EACH_TIME

    async def _starting_in(self, key: str, spans: Sequence[Span]) -> list[list[BreachDocument]]:
        """Those of each of *spans*."""
        wanted: list[Row] = [{"first_run_at": self._bounds(span)} for span in spans]
        found = await self.stored({"rule_key": key, "$or": wanted})
        return [
            [breach for breach in found if _holds(span, (breach.first_run_at, breach.first_run))]
            for span in spans
        ]

    def _bounds(self, span: Span) -> Row:
        bounds = {"$gte": span.first, "$lte": span.last}
        moments = {sign: at[0] for sign, at in bounds.items() if at is not None}
        if self.raw_since is not None:
            moments["$gte"] = later_of(moments.get("$gte"), self.raw_since)
        return moments or {"$exists": True}

    async def _known_by(self, key: str, first_run: object) -> BreachDocument | None:
        found = await self.stored({"rule_key": key, "first_run": first_run})
        return found[0] if found else None

    async def _replace(
        self,
        rule: RuleDocument,
        found: Sequence[Episode],
        stored: Sequence[BreachDocument],
        *,
        keep: bool = False,
    ) -> set[str]:
        """Has *found* stand in place of *stored*; with *keep*, what none of them is stays. The ids
        of those that one is.
        """
        matching = match(found, stored)
        by_id = {breach.id: breach for breach in stored}
        for fallen in () if keep else matching.fallen:
            await self.retract(by_id[fallen])
        for episode, breach_id in matching.pairs:
            if breach_id is None:
                self._open(episode, rule)
            else:
                await self._update(by_id[breach_id], episode, rule)
        return by_id.keys() - set(matching.fallen)

    def _open(self, episode: Episode, rule: RuleDocument) -> None:
        row = new_breach(
            uuid4().hex, self.probe, episode, rule, self.standards, self.now,
            more_follows=self.more_follows,
        )  # fmt: skip
        self._changes.append(InsertOne(row))
        if not row["stale"]:
            self._pending.append(PendingEvent("OPENED", row["_id"], self.probe))

    @property
    def _withdrawal(self) -> Withdrawal:
        return Withdrawal(self.store, self.session, self.now)

    async def _update(self, before: BreachDocument, episode: Episode, rule: RuleDocument) -> None:
        change = change_of(before, episode, rule, self.standards, more_follows=self.more_follows)
        if change is None:
            return
        self._changes.append(UpdateOne({"_id": before.id}, {"$set": change.fields}))
        await self._withdrawal.changed(before.id, before.status, change.fields["status"])
        if change.kind is not None:
            self._pending.append(PendingEvent(change.kind, before.id, self.probe))


def newest_of(document: Row) -> RunKey | None:
    newest = document.get("newest")
    return None if newest is None else (newest["at"], newest["id"])


def later(document: Row, rows: Sequence[Row]) -> Row:
    """The newest of all, after *rows* came."""
    keys = [(row["started_at"], row["_id"]) for row in rows]
    known = newest_of(document)
    return newest_row(max(keys if known is None else [*keys, known]))


def later_of(moment: datetime | None, other: datetime) -> datetime:
    return other if moment is None else max(moment, other)


def newest_row(key: RunKey) -> Row:
    return {"at": key[0], "id": key[1]}


def _holds(span: Span, key: RunKey) -> bool:
    return (span.first is None or span.first <= key) and (span.last is None or key <= span.last)
