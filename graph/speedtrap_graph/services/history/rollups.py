"""Keeps the rolled-up buckets of a probe in step with its runs, its plans and its rules.

Whoever stores or changes runs leaves a mark in the same transaction (`mark`). Whoever reads rolled
buckets rolls up what is marked first (`Rollups.refresh`): from the runs, so that neither their
order nor a repetition shows, and in one transaction with the removal of the marks it saw, so that
a crash at any point leaves the marks of what is not done.

Where runs are kept for a time only, hours before some moment are frozen: they are never recomputed,
and a run in one of them counts where the hour begins.
"""

from asyncio import gather, to_thread
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING, DeleteOne, ReadPreference, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from speedtrap_graph.rules.eras import Eras
from speedtrap_graph.rules.grid import Grid, Level, grid_of
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric, Plan, Rule
from speedtrap_graph.rules.percentiles import median
from speedtrap_graph.rules.summary import Summariser, Summary
from speedtrap_graph.services.judging.readings import FigureReader
from speedtrap_graph.store import rollups as stored
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE
from speedtrap_graph.store.rollups import MARKS, ROLLUPS, STATES, milliseconds, moment_of

EXACT_RUNS = 4000
"""A range of at most this many runs is answered from the runs themselves, exactly: 16 ms of work,
five months of hourly runs, and most pages."""

FIRST_MS = 0
END_MS = 4_102_444_800_000
"""Buckets are of the years 1970 to 2099: a clock that says anything else is broken, and calendars
end somewhere."""

_MARKS_AT_ONCE = 5000
_ONE_MARK = timedelta(days=1)
"""Runs of a batch closer together than this share a mark."""

Row = dict[str, Any]
Database = AsyncDatabase[Row]
Session = AsyncClientSession
Write = DeleteOne | ReplaceOne[Row]
T = TypeVar("T")


async def mark(
    database: Database, session: Session, probe: str, moments: Iterable[datetime]
) -> None:
    """Has the buckets of runs that started at *moments* rolled up again, once this transaction is
    committed. A mark is only ever added, so that no two writers meet here.
    """
    if rows := marks_of(probe, moments):
        await database[MARKS].insert_many(rows, session=session)


def marks_of(probe: str, moments: Iterable[datetime]) -> list[Row]:
    rows: list[Row] = []
    for moment in sorted(moments):
        if rows and moment - rows[-1]["until"] < _ONE_MARK:
            rows[-1]["until"] = moment
        else:
            rows.append({"probe": probe, "since": moment, "until": moment})
    return rows


async def is_small(database: Database, probe: str, since: datetime, until: datetime) -> bool:
    """Whether the range has at most `EXACT_RUNS` runs."""
    one_more = await database["runs"].find_one(
        {"probe": probe, "started_at": {"$gte": since, "$lt": until}},
        {"_id": 0, "started_at": 1},
        sort=[("started_at", DESCENDING)],
        skip=EXACT_RUNS,
    )
    return one_more is None


@dataclass(frozen=True)
class Rollups:
    """The buckets of one probe, by its plans (sorted by `since`) and rules."""

    database: Database
    probe: str
    plans: Sequence[Plan]
    rules: Mapping[Metric, Rule]

    @cached_property
    def eras(self) -> Eras:
        return Eras.of(self.plans, {Metric.DOWNLOAD: DEFAULT_RULE, **self.rules})

    @cached_property
    def grid(self) -> Grid:
        """The calendar of the newest plan."""
        return grid_of(self.eras.all[-1].time_zone)

    async def may_be_exact(self, since: datetime, until: datetime) -> bool:
        """Whether the runs of a range are all there, and few enough to be read one by one."""
        small, state = await gather(
            is_small(self.database, self.probe, since, until),
            self.database[STATES].find_one({"_id": self.probe}, {"frozen_before": 1}),
        )
        frozen_ms = stored.frozen_of(state)
        return small and (frozen_ms == 0 or milliseconds(since) >= frozen_ms)

    async def usual_interval_ms(self, since: datetime, until: datetime) -> float | None:
        """The median time from start to start; None where runs of the range are no longer kept."""
        state = await self.database[STATES].find_one({"_id": self.probe}, {"frozen_before": 1})
        if milliseconds(since) < stored.frozen_of(state):
            return None
        query = {"probe": self.probe, "started_at": {"$gte": since, "$lt": until}}
        found = self.database["runs"].find(query, {"_id": 0, "started_at": 1})
        # Answered by the index alone.
        ordered = found.sort([("started_at", DESCENDING), ("_id", DESCENDING)])
        rows = await ordered.hint(RUNS_OF_A_PROBE).to_list()
        starts = [milliseconds(row["started_at"]) for row in rows]
        return median(later - earlier for later, earlier in pairwise(starts))

    async def refresh(self) -> int:
        """Rolls up whatever is not: month by month, a transaction each. Before which moment
        (milliseconds since the epoch) there are hours instead of runs.
        """
        state, marked = await gather(
            self.database[STATES].find_one({"_id": self.probe}),
            self.database[MARKS].find_one({"probe": self.probe}),
        )
        if state is None or not self.is_mine(state):
            await self._adopt()
        elif marked is None:
            return stored.frozen_of(state)
        while await self._transaction(self._roll_up_a_month):
            pass
        return stored.frozen_of(state)

    async def read(
        self,
        spans: Iterable[tuple[Level | None, int, int]],
        projection: Mapping[str, int],
        frozen_ms: int,
    ) -> list[tuple[int, Summary]]:
        """The summaries of *spans* (of `grid.cover`) with their starts, in order of time.

        What no bucket fills is summed up from the runs, and before *frozen_ms*, where there are
        none, has the hours that begin in it.
        """
        whole: list[stored.Span] = []
        parts: list[tuple[int, int]] = []
        for level, start, end in spans:
            if level is not None:
                whole.append((level, start, end))
                continue
            if start < frozen_ms:
                whole.append((Level.HOUR, start, min(end, frozen_ms)))
            if end > frozen_ms:
                parts.append((max(start, frozen_ms), end))
        rows, runs = await gather(self._buckets(whole, projection), self._runs(parts))

        def compute() -> list[tuple[int, Summary]]:
            found = [(stored.start_of(row), stored.summary_of(row)) for row in rows]
            found += self._summed_up(self.eras, runs, [start for start, _ in parts]).items()
            return sorted(found, key=_start)

        return await to_thread(compute)

    async def extent(
        self, since_ms: int, until_ms: int, frozen_ms: int, session: Session | None = None
    ) -> tuple[int, int] | None:
        """From the first run's start of a range to just after the last one's; in frozen time it is
        the hours' starts.
        """
        since_ms, until_ms = max(since_ms, FIRST_MS), min(until_ms, END_MS)
        ends: list[int] = []
        if since_ms < min(until_ms, frozen_ms):
            ends += await self._ends_of_hours(since_ms, min(until_ms, frozen_ms), session)
        if max(since_ms, frozen_ms) < until_ms:
            ends += await self._ends_of_runs(max(since_ms, frozen_ms), until_ms, session)
        return (min(ends), max(ends) + 1) if ends else None

    async def _ends_of_runs(
        self, since_ms: int, until_ms: int, session: Session | None
    ) -> list[int]:
        ends: list[int] = []
        for direction in (ASCENDING, DESCENDING):
            row = await self.database["runs"].find_one(
                self._started_in([(since_ms, until_ms)]),
                {"started_at": 1},
                sort=[("started_at", direction)],
                session=session,
            )
            if row is not None:
                ends.append(milliseconds(row["started_at"]))
        return ends

    async def _ends_of_hours(
        self, since_ms: int, until_ms: int, session: Session | None
    ) -> list[int]:
        hours = stored.within(self.probe, [(Level.HOUR, since_ms, until_ms)])
        ends: list[int] = []
        for direction in (ASCENDING, DESCENDING):
            row = await self.database[ROLLUPS].find_one(
                hours, {"_id": 1}, sort=[("_id", direction)], session=session
            )
            if row is not None:
                ends.append(stored.start_of(row))
        return ends

    def is_mine(self, state: Row) -> bool:
        return self._has_my_calendar(state) and _eras_of(state).standard == self.eras.standard

    def _has_my_calendar(self, state: Row) -> bool:
        return "standard" in state and state["time_zone"] == self.grid.time_zone

    async def _adopt(self) -> None:
        """Makes these plans and rules those of the buckets, and marks what they change."""
        await self.database[STATES].update_one(
            {"_id": self.probe}, {"$setOnInsert": {"turn": 0}}, upsert=True
        )
        await self._transaction(self._adopt_in)

    async def _adopt_in(self, session: Session) -> None:
        state = await self._next_turn(session)
        frozen_ms = stored.frozen_of(state)
        if self.is_mine(state):
            return
        if self._has_my_calendar(state):
            # What is frozen was judged by the plans and rules of then.
            differing = self.eras.differing(_eras_of(state))
            changed = [(max(since, frozen_ms), until) for since, until in differing]
        else:
            # Other days and hours, or none so far; frozen hours go into other days and months.
            changed = [(FIRST_MS, END_MS)]
            others = stored.all_but_hours_before(self.probe, frozen_ms)
            await self.database[ROLLUPS].delete_many(others, session=session)
        marks: list[Row] = []
        for since_ms, until_ms in changed:
            extent = await self.extent(since_ms, until_ms, frozen_ms, session)
            if extent is not None:
                since, until = moment_of(extent[0]), moment_of(extent[1] - 1)
                marks.append({"probe": self.probe, "since": since, "until": until})
        if marks:
            await self.database[MARKS].insert_many(marks, session=session)
        await self.database[STATES].update_one(
            {"_id": self.probe},
            {"$set": {"time_zone": self.grid.time_zone, "standard": self.eras.standard}},
            session=session,
        )

    async def _next_turn(self, session: Session) -> Row:
        """First in each transaction on the buckets: of two at once, one waits for the other."""
        state = await self.database[STATES].find_one_and_update(
            {"_id": self.probe}, {"$inc": {"turn": 1}}, session=session
        )
        return state or {}

    async def _roll_up_a_month(self, session: Session) -> bool:
        """The first month that has marks; False when none has."""
        state = await self._next_turn(session)
        grid, eras = grid_of(state.get("time_zone", "UTC")), _eras_of(state)
        query = {"probe": self.probe}
        found = self.database[MARKS].find(query, sort=[("since", ASCENDING)], session=session)
        marks = await found.limit(_MARKS_AT_ONCE).to_list()
        if not marks:
            return False
        first_ms = min(max(milliseconds(marks[0]["since"]), FIRST_MS), END_MS)
        month, month_end = grid.bounds(Level.MONTH, first_ms)
        work = _Work(grid, eras, stored.frozen_of(state), (month, month_end))
        await self._roll_up(session, work, _hours_of(grid, marks, month, month_end))
        await self._clear(session, marks, month_end)
        return True

    async def _clear(self, session: Session, marks: Iterable[Row], end_ms: int) -> None:
        end = moment_of(end_ms)
        mine = [mark for mark in marks if mark["since"] < end]
        done = [mark["_id"] for mark in mine if mark["until"] < end or end_ms >= END_MS]
        rest = [mark["_id"] for mark in mine if mark["until"] >= end and end_ms < END_MS]
        marked = self.database[MARKS]
        await marked.delete_many({"probe": self.probe, "_id": {"$in": done}}, session=session)
        if rest:
            await marked.update_many(
                {"probe": self.probe, "_id": {"$in": rest}},
                {"$set": {"since": end}},
                session=session,
            )

    async def _roll_up(
        self, session: Session, work: "_Work", spans: Sequence[tuple[int, int]]
    ) -> None:
        """The hours in *spans* of one month from their runs, the days from their hours, the month
        from its days.
        """
        days = _days_of(work.grid, spans)
        runs = await self._runs(work.thawed(spans), session)
        hour_rows = await self._buckets([(Level.HOUR, *day) for day in days], {}, session)
        day_rows = await self._buckets([(Level.DAY, *work.month)], {}, session)

        def compute() -> list[Write]:
            starts, month = work.hours(spans), work.month[0]
            day_starts = [start for start, _ in days]
            hours = self._summed_up(work.eras, runs, starts)
            whole_days = _joined(_kept(hour_rows, starts) | hours, day_starts)
            months = _joined(_kept(day_rows, day_starts) | whole_days, [month])
            return [
                *self._writes(Level.HOUR, starts, hours),
                *self._writes(Level.DAY, day_starts, whole_days),
                *self._writes(Level.MONTH, [month], months),
            ]

        writes = await to_thread(compute)
        await self.database[ROLLUPS].bulk_write(writes, ordered=False, session=session)

    def _writes(
        self, level: Level, touched: Iterable[int], summaries: Mapping[int, Summary]
    ) -> Iterator[Write]:
        """A touched bucket without runs is one that has lost them."""
        for start in touched:
            if start in summaries:
                yield stored.replacement(self.probe, level, start, summaries[start])
            else:
                yield stored.removal(self.probe, level, start)

    def _summed_up(
        self, eras: Eras, runs: Iterable[Row], starts: Sequence[int]
    ) -> dict[int, Summary]:
        """Summaries of the buckets that hold *runs* (in order), of buckets by their starts."""
        reader, summariser = FigureReader(), Summariser(eras)
        found: dict[int, Summary] = {}
        for row in runs:
            run = reader.read(row)
            start = starts[bisect_right(starts, run.start_ms) - 1]
            summary = found.get(start)
            if summary is None:
                summary = found[start] = Summary()
            summariser.take(summary, run)
        return found

    async def _buckets(
        self,
        spans: Sequence[stored.Span],
        projection: Mapping[str, int],
        session: Session | None = None,
    ) -> list[Row]:
        if not spans:
            return []
        query = stored.within(self.probe, spans)
        return await self.database[ROLLUPS].find(query, projection, session=session).to_list()

    async def _runs(
        self, spans: Sequence[tuple[int, int]], session: Session | None = None
    ) -> list[Row]:
        if not spans:
            return []
        found = self.database["runs"].find(
            self._started_in(spans),
            FigureReader().projection,
            sort=[("started_at", ASCENDING), ("_id", ASCENDING)],
            session=session,
        )
        return await found.to_list()

    def _started_in(self, spans: Iterable[tuple[int, int]]) -> Row:
        ranges = [
            {"started_at": {"$gte": moment_of(start), "$lt": moment_of(end)}}
            for start, end in spans
        ]
        return {"probe": self.probe, "$or": ranges}

    async def _transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        async with self.database.client.start_session() as session:
            return await session.with_transaction(
                work,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern(w="majority"),
                read_preference=ReadPreference.PRIMARY,
            )


@dataclass(frozen=True, slots=True)
class _Work:
    """On one month of a probe's buckets, [start, end)."""

    grid: Grid
    eras: Eras
    frozen_ms: int
    month: tuple[int, int]

    def thawed(self, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return [(max(start, self.frozen_ms), end) for start, end in spans if end > self.frozen_ms]

    def hours(self, spans: Iterable[tuple[int, int]]) -> list[int]:
        """The starts of those that are computed. After a change of the zone by half an hour one may
        be frozen in part: it begins where that ends.
        """
        return [
            max(hour, self.frozen_ms)
            for span in spans
            for hour in self.grid.starts(Level.HOUR, *span)
            if hour >= self.frozen_ms or self.grid.bounds(Level.HOUR, hour)[1] > self.frozen_ms
        ]


def _start(found: tuple[int, Summary]) -> int:
    return found[0]


def _eras_of(state: Row) -> Eras:
    return Eras.by([tuple(era) for era in state.get("standard", [])])


def _hours_of(
    grid: Grid, marks: Iterable[Row], month: int, month_end: int
) -> list[tuple[int, int]]:
    """The spans of whole hours that *marks* touch in the month, apart from each other."""
    spans: list[tuple[int, int]] = []
    for mark in marks:
        since, until = max(milliseconds(mark["since"]), month), milliseconds(mark["until"])
        if until < month or since >= month_end:
            continue
        start = grid.floor(Level.HOUR, since)
        end = grid.bounds(Level.HOUR, min(until, month_end - 1))[1]
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _days_of(grid: Grid, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    starts = sorted(
        {grid.floor(Level.DAY, hour) for span in spans for hour in grid.starts(Level.HOUR, *span)}
    )
    return [grid.bounds(Level.DAY, start) for start in starts]


def _kept(rows: Iterable[Row], without: Iterable[int]) -> dict[int, Summary]:
    gone = set(without)
    return {
        start: stored.summary_of(row) for row in rows if (start := stored.start_of(row)) not in gone
    }


def _joined(finer: Mapping[int, Summary], starts: Sequence[int]) -> dict[int, Summary]:
    """Each of *starts* (sorted) with what begins there or later and before the next one."""
    found: dict[int, Summary] = {}
    for start in sorted(finer):
        bucket = starts[bisect_right(starts, start) - 1]
        found.setdefault(bucket, Summary()).join(finer[start])
    return found
