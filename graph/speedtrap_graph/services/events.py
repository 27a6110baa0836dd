"""Events to subscribers: a change stream wakes every copy, and a replay by number fills any gap."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import OperationFailure, PyMongoError

from speedtrap_graph.services.errors import BadInputError
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.events import events_after, last_seq

_log = logging.getLogger(__name__)

QUEUE_LENGTH = 256
_REPLAY_PAGE = 500
_RETRY_S = (0.1, 0.25, 0.5, 1.0, 2.0)
_HISTORY_LOST = frozenset({280, 286})
"""ChangeStreamFatalError and ChangeStreamHistoryLost: the token is of no more use."""


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


@dataclass
class Events:
    """One change stream a process, whatever the number of its subscribers."""

    store: Store
    _breaches: set[Subscriber] = field(default_factory=set)
    _runs: set[Subscriber] = field(default_factory=set)

    async def watch(self) -> None:
        """Runs as long as the service does; survives failovers and restarts of MongoDB."""
        token: Mapping[str, Any] | None = None
        failures = 0
        while True:
            try:
                async with await self._open(token) as stream:
                    if token is None:
                        # What happened before this stream began nobody has been told.
                        self._all_lagged()
                    while True:
                        change = await stream.try_next()
                        token, failures = stream.resume_token, 0
                        if change is not None:
                            self._dispatch(change)
            except PyMongoError as error:
                if isinstance(error, OperationFailure) and error.code in _HISTORY_LOST:
                    token = None
                _log.warning("the change stream broke off and is taken up again: %s", error)
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1

    async def _open(self, token: Mapping[str, Any] | None) -> AsyncChangeStream[Row]:
        wanted = {"operationType": "insert", "ns.coll": {"$in": ["events", "runs"]}}
        return await self.store.database.watch(
            [{"$match": wanted}], resume_after=token, max_await_time_ms=1000
        )

    def _dispatch(self, change: Row) -> None:
        subscribers = self._breaches if change["ns"]["coll"] == "events" else self._runs
        for subscriber in subscribers:
            subscriber.offer(change["fullDocument"])

    def _all_lagged(self) -> None:
        for subscriber in self._breaches:
            subscriber.lag()

    async def breaches(self, after: str | None) -> AsyncGenerator[Row, None]:
        """Every event behind the cursor *after*, once and in order; without one, from now on."""
        subscriber = Subscriber()
        # Registered before the replay, so that nothing falls between the two.
        self._breaches.add(subscriber)
        try:
            seen = await self._start(after)
            while True:
                async for row in self._replay(seen):
                    seen = row["_id"]
                    yield row
                async for row in _live(subscriber, seen):
                    seen = row["_id"]
                    yield row
                subscriber.catch_up()
        finally:
            self._breaches.discard(subscriber)

    async def runs(self, probe: str | None) -> AsyncGenerator[Row, None]:
        """Runs as they come. A subscriber that lags misses some: `runs` of the query has them."""
        subscriber = Subscriber()
        self._runs.add(subscriber)
        try:
            while True:
                row = await subscriber.queue.get()
                if row is None:
                    subscriber.catch_up()
                elif probe is None or row["probe"] == probe:
                    yield row
        finally:
            self._runs.discard(subscriber)

    async def _start(self, after: str | None) -> int:
        newest = await last_seq(self.store)
        if after is None:
            return newest
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            raise BadInputError("after must be the cursor of an event, or 0", field="after")
        if int(after) > newest:
            raise BadInputError(
                f"after is {after}, but the newest event is {newest}: is this cursor from another"
                " database?",
                field="after",
            )
        return int(after)

    async def _replay(self, seen: int) -> AsyncGenerator[Row, None]:
        while True:
            rows = await events_after(self.store, seen, _REPLAY_PAGE)
            for row in rows:
                yield row
            if len(rows) < _REPLAY_PAGE:
                return
            seen = rows[-1]["_id"]


async def _live(subscriber: Subscriber, seen: int) -> AsyncGenerator[Row, None]:
    """From the queue, until a number is missing."""
    while True:
        row = await subscriber.queue.get()
        if row is None or subscriber.lagged or row["_id"] > seen + 1:
            return
        if row["_id"] == seen + 1:
            seen += 1
            yield row
