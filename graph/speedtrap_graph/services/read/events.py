"""Events to subscribers: a change stream wakes every copy, and a replay by number fills any gap."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import InvalidOperation, OperationFailure, PyMongoError

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import BreachDocument
from speedtrap_graph.store.events import GONE, events_after, last_seq

_log = logging.getLogger(__name__)

T = TypeVar("T")

QUEUE_LENGTH = 256
_EVENTS = "events"
_REPLAY_PAGE = 500
_RETRY_S = (0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, and the breach as it stands now, so that nobody acts on what was taken back
    meanwhile. `seq` is the event's number.
    """

    seq: int
    row: Row
    breach: BreachDocument
    views: dict[type, Any] = field(default_factory=dict, compare=False, repr=False)
    """What is made of it for the first who is told and serves the others as well."""


@dataclass(eq=False)
class Subscriber:
    """A bounded queue. When it is full it is marked instead, and the subscriber reads the store."""

    queue: asyncio.Queue[Row | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=QUEUE_LENGTH + 1)
    )
    lagged: bool = False

    def offer(self, row: Row) -> None:
        if self.lagged:
            return
        if self.queue.qsize() >= QUEUE_LENGTH:
            self.lag()
        else:
            self.queue.put_nowait(row)

    def lag(self) -> None:
        """Something was missed. The last place of the queue is kept for saying so."""
        if not self.lagged:
            self.lagged = True
            self.queue.put_nowait(None)

    def catch_up(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.lagged = False


@dataclass(frozen=True, slots=True)
class Following:
    """Who follows the events here, and how well this copy does itself. `newest` is the last event
    that it was told of; `quiet_s` since its change stream answered last.
    """

    of_breaches: int
    of_runs: int
    lagging: int
    queued: int
    newest: int
    quiet_s: float | None


@dataclass
class Events:
    """One change stream a process, whatever the number of its subscribers; one more while somebody
    follows the runs.
    """

    store: Store
    _breaches: set[Subscriber] = field(default_factory=set)
    _runs: set[Subscriber] = field(default_factory=set)
    _run_watcher: asyncio.Task[None] | None = None
    _newest: int = 0
    """No event up to this number can be taken back any more."""
    _reading: dict[int, asyncio.Future[Event | None]] = field(default_factory=dict)
    _answered: dict[str, float] = field(default_factory=dict)
    """When each collection's change stream did so last, by the monotonic clock."""

    async def watch(self) -> None:
        """Runs as long as the service does; survives failovers and restarts of MongoDB."""
        await self._follow(_EVENTS, self._begin, self._tell)

    def following(self) -> Following:
        subscribers = self._breaches | self._runs
        answered = self._answered.get(_EVENTS)
        return Following(
            of_breaches=len(self._breaches),
            of_runs=len(self._runs),
            lagging=sum(subscriber.lagged for subscriber in subscribers),
            queued=sum(subscriber.queue.qsize() for subscriber in subscribers),
            newest=self._newest,
            quiet_s=None if answered is None else time.monotonic() - answered,
        )

    async def _follow(
        self, collection: str, begin: Callable[[], Awaitable[None]], tell: Callable[[Row], None]
    ) -> None:
        """Hands every new document to *tell*. Where it cannot go on from where it was, *begin* is
        called, once the stream is open again.
        """
        token: Mapping[str, Any] | None = None
        failures = 0
        while True:
            try:
                async with await self._open(collection, token) as stream:
                    if token is None:
                        await begin()
                    while stream.alive:
                        change = await stream.try_next()
                        token, failures = stream.resume_token, 0
                        self._answered[collection] = time.monotonic()
                        if change is not None:
                            tell(change["fullDocument"])
                token = None  # the database was dropped: nothing can be resumed across that
            except PyMongoError as error:
                if isinstance(error, OperationFailure | InvalidOperation):
                    # MongoDB answered, and not with changes: its oplog no longer reaches back to
                    # the token, or the token is of no more use for another reason. Without it the
                    # stream begins now, and what lies between is replayed from the events.
                    token = None
                _log.warning("the change stream broke off and is taken up again: %s", error)
                await asyncio.sleep(_pause_s(failures))
                failures += 1

    async def _open(
        self, collection: str, token: Mapping[str, Any] | None
    ) -> AsyncChangeStream[Row]:
        return await self.store[collection].watch(
            [{"$match": {"operationType": "insert"}}], resume_after=token, max_await_time_ms=1000
        )

    async def _begin(self) -> None:
        """What happened before this stream began nobody has been told: all are to look."""
        self._newest = await last_seq(self.store)
        for subscriber in self._breaches:
            subscriber.lag()

    def _tell(self, row: Row) -> None:
        self._newest = max(self._newest, row["_id"])
        for subscriber in self._breaches:
            subscriber.offer(row)

    async def _begin_runs(self) -> None:
        """Nobody was promised those that came before."""

    def _tell_of_run(self, row: Row) -> None:
        for subscriber in self._runs:
            subscriber.offer(row)

    async def breaches(self, after: str | None) -> AsyncGenerator[Event, None]:
        """Every event behind the cursor *after*, once and in order; without one, from now on."""
        subscriber = Subscriber()
        # Registered before the replay, so that nothing falls between the two.
        self._breaches.add(subscriber)
        try:
            seen = await self._start(after)
            while True:
                async for row in self._replay(seen):
                    seen = row["_id"]
                    if (event := await self._told(row)) is not None:
                        yield event
                async for row in _live(subscriber, seen):
                    seen = row["_id"]
                    if (event := await self._told(row)) is not None:
                        yield event
                subscriber.catch_up()
        finally:
            self._breaches.discard(subscriber)

    async def runs(self, probe: str | None) -> AsyncGenerator[Row, None]:
        """Runs as they come. A subscriber that lags misses some: `runs` of the query has them."""
        subscriber = Subscriber()
        self._runs.add(subscriber)
        if self._run_watcher is None:
            # Not before somebody asks: the runs would all come here to be unpacked for nobody,
            # which took a quarter of the time of taking them in.
            watching = self._follow("runs", self._begin_runs, self._tell_of_run)
            self._run_watcher = asyncio.create_task(watching)
        try:
            while True:
                row = await subscriber.queue.get()
                if row is None:
                    subscriber.catch_up()
                elif probe is None or row["probe"] == probe:
                    yield row
        finally:
            self._runs.discard(subscriber)
            if not self._runs and self._run_watcher is not None:
                self._run_watcher.cancel()
                self._run_watcher = None

    async def _start(self, after: str | None) -> int:
        if after is None:
            return await self._know_the_newest()
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            raise BadInputError("after must be the cursor of an event, or 0", field="after")
        # Those who come back after a failover, all at once, need not ask how far the events go.
        if int(after) > self._newest and int(after) > await self._know_the_newest():
            raise BadInputError(
                f"after is {after}, but the newest event is {self._newest}: is this cursor from"
                " another database?",
                field="after",
            )
        return int(after)

    async def _know_the_newest(self) -> int:
        found = await _patiently(lambda: last_seq(self.store))
        self._newest = max(self._newest, found)
        return found

    async def _replay(self, seen: int) -> AsyncGenerator[Row, None]:
        """What is stored behind *seen*. A primary that has just been elected may for a moment not
        know of all that the majority has: so it is asked again while something is known to lack.
        """
        vain = 0
        while True:
            rows = await _patiently(partial(events_after, self.store, seen, _REPLAY_PAGE))
            for row in rows:
                yield row
                seen = row["_id"]
            if len(rows) == _REPLAY_PAGE:
                continue
            if seen >= self._newest or vain == len(_RETRY_S):
                return
            await asyncio.sleep(_pause_s(vain))
            vain += 1

    async def _told(self, row: Row) -> Event | None:
        """None where the breach was removed by hand: that must not stop what comes after."""
        seq: int = row["_id"]
        if row["kind"] == GONE:
            return None
        # Shared by all who are told of this event at the same time, and begun after it happened.
        reading = self._reading.get(seq)
        if reading is None:
            reading = self._reading[seq] = asyncio.ensure_future(_event(row))
            reading.add_done_callback(lambda _: self._reading.pop(seq, None))
        return await asyncio.shield(reading)


async def _live(subscriber: Subscriber, seen: int) -> AsyncGenerator[Row, None]:
    """From the queue, until a number is missing."""
    while True:
        row = await subscriber.queue.get()
        if row is None or subscriber.lagged or row["_id"] > seen + 1:
            return
        if row["_id"] == seen + 1:
            seen += 1
            yield row


async def _event(row: Row) -> Event | None:
    breach = await _patiently(lambda: BreachDocument.get(row["breach"]))
    if breach is None:
        _log.warning("event %s is about a breach that is not there: %s", row["_id"], row["breach"])
        return None
    return Event(row["_id"], row, breach)


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Through failovers and restarts: a subscription is not lost with a connection."""
    failures = 0
    while True:
        try:
            return await read()
        except PyMongoError as error:
            _log.warning("the events are read again: %s", error)
            await asyncio.sleep(_pause_s(failures))
            failures += 1


def _pause_s(failures: int) -> float:
    return _RETRY_S[min(failures, len(_RETRY_S) - 1)]
