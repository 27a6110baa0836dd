"""Hands every new run to an exporter: at least once, in the order in which they were committed.

The order is that of MongoDB's change stream: a run that was committed late comes late and is not
skipped, and taking runs in costs nothing more. Where the oplog no longer reaches back, as after
days of absence or in a restored backup, the runs received since then are read instead, with a
margin for clocks that differ between copies: some come twice, none is left out.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import InvalidOperation, OperationFailure, PyMongoError

from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.exports import LEASE_MS, Place, claim, release, save

_log = logging.getLogger(__name__)

MARGIN = timedelta(hours=1)
"""Clocks of copies differ, and a run is received up to a minute before it is committed."""
BATCH = 100
_IDLE_MS = 500
_RENEW_S = LEASE_MS / 3000
_LOST = "another copy has taken over"


class ExportError(Exception):
    """A run did not get out."""


class NotTakenError(ExportError):
    """Not now: the same runs are handed over again, later."""


class RefusedRunError(ExportError):
    """Never: the receiver understood, and does not want this run. The others go on."""


class Sender(Protocol):
    async def send(self, runs: Sequence[Row], newest: Mapping[str, datetime]) -> None:
        """All of *runs* or an ExportError. *newest* says when the newest run of each of their
        probes started. Called without runs while there are none.
        """


class Exporter(Protocol):
    @property
    def name(self) -> str: ...

    def connected(self) -> AbstractAsyncContextManager[Sender]:
        """A connection for as long as it lasts; NotTakenError where there is none."""


@dataclass
class Pump:
    """One exporter in this copy of the service. `longest_pause_s` is between two attempts."""

    store: Store
    exporter: Exporter
    longest_pause_s: float = 60.0
    holder: str = field(default_factory=lambda: secrets.token_hex(8))

    async def forever(self) -> None:
        """Nothing that a receiver or MongoDB does ends it."""
        failures = 0
        while True:
            try:
                place = await claim(self.store, self.exporter.name, self.holder)
                if place is not None:
                    failures = 0
                    await self._while_held(place)
            except PyMongoError as error:
                _log.warning("%s waits for MongoDB: %s", self.exporter.name, type(error).__name__)
            await asyncio.sleep(min(2.0**failures, 5.0))
            failures = min(failures + 1, 8)

    async def _while_held(self, place: Place) -> None:
        renewing = asyncio.create_task(self._renew())
        working = asyncio.create_task(self._work(place))
        try:
            await asyncio.wait((renewing, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            for task in (renewing, working):
                task.cancel()
            await asyncio.gather(renewing, working, return_exceptions=True)
            with contextlib.suppress(PyMongoError):
                await release(self.store, self.exporter.name, self.holder)

    async def _renew(self) -> None:
        """Ends when the lease is lost."""
        while True:
            await asyncio.sleep(_RENEW_S)
            if await claim(self.store, self.exporter.name, self.holder) is None:
                _log.warning("%s: %s", self.exporter.name, _LOST)
                return

    async def _work(self, place: Place) -> None:
        failures = 0
        batches = self._batches(place)
        async with contextlib.aclosing(batches):
            batch = await anext(batches, None)
            while batch is not None:
                try:
                    async with self.exporter.connected() as sender:
                        while batch is not None:
                            runs, reached = batch
                            await self._hand_over(sender, runs)
                            failures = 0
                            if not await save(self.store, self.exporter.name, self.holder, reached):
                                return
                            batch = await anext(batches, None)
                except NotTakenError as error:
                    pause_s = min(2.0**failures, self.longest_pause_s)
                    failures = min(failures + 1, 16)
                    facts = {"exporter": self.exporter.name, "retry_in_s": pause_s}
                    words = "%s: %s; again in %.0f s"
                    _log.warning(words, self.exporter.name, error, pause_s, extra=facts)
                    await asyncio.sleep(pause_s)

    async def _hand_over(self, sender: Sender, runs: Sequence[Row]) -> None:
        newest = await self._newest(runs)
        try:
            await sender.send(runs, newest)
        except (NotTakenError, PyMongoError):
            raise
        except RefusedRunError as error:
            if len(runs) > 1:
                # One of them: the others must not suffer for it.
                for run in runs:
                    await self._hand_over(sender, [run])
            elif runs:
                run = runs[0]
                facts = {
                    "exporter": self.exporter.name,
                    "probe": run["probe"],
                    "run_id": run["_id"],
                }
                words = "%s: run %s is left out: %s"
                _log.error(words, self.exporter.name, run["_id"], error, extra=facts)
        except Exception as error:
            # Whatever the other side made a library raise: it must not end the export.
            raise NotTakenError(f"an unexpected {type(error).__name__}") from error

    async def _newest(self, runs: Sequence[Row]) -> dict[str, datetime]:
        names = list({run["probe"] for run in runs})
        if not names:
            return {}
        rows = self.store["probes"].find({"_id": {"$in": names}}, {"newest": 1})
        return {row["_id"]: row["newest"]["at"] async for row in rows if row.get("newest")}

    async def _batches(self, place: Place) -> AsyncGenerator[tuple[list[Row], Place]]:
        """Runs with the place behind them; empty ones while none come."""
        stream, resumed = await self._open(place)
        async with stream:
            # Before the first start there was nothing to export.
            start = Place(stream.resume_token, place.at or datetime.now(UTC))
            if not resumed and place.at is not None:
                # Read while the stream is open already: nothing falls between the two.
                async for batch in self._received_since(place.at - MARGIN):
                    yield batch
            yield [], start
            try:
                while stream.alive:
                    runs, start = await self._next(stream, start.at)
                    yield runs, start
            except (OperationFailure, InvalidOperation):
                # The token may be of no more use.
                await save(self.store, self.exporter.name, self.holder, Place(None, start.at))
                raise

    async def _open(self, place: Place) -> tuple[AsyncChangeStream[Row], bool]:
        """The stream, and whether it goes on where *place* is."""
        if place.token is not None:
            try:
                return await self._watch(place.token), True
            except (OperationFailure, InvalidOperation) as error:
                if isinstance(error, OperationFailure) and error.has_error_label(
                    "ResumableChangeStreamError"
                ):
                    raise
                _log.warning("%s reads again what came lately: %s", self.exporter.name, error)
        return await self._watch(None), False

    async def _watch(self, token: Mapping[str, Any] | None) -> AsyncChangeStream[Row]:
        return await self.store["runs"].watch(
            [{"$match": {"operationType": "insert"}}],
            resume_after=token,
            max_await_time_ms=_IDLE_MS,
            batch_size=BATCH,
        )

    async def _next(
        self, stream: AsyncChangeStream[Row], at: datetime | None
    ) -> tuple[list[Row], Place]:
        runs: list[Row] = []
        while len(runs) < BATCH:
            change = await stream.try_next()
            if change is None:
                break
            runs.append(change["fullDocument"])
            at = change["clusterTime"].as_datetime()
        return runs, Place(stream.resume_token, at)

    async def _received_since(self, since: datetime) -> AsyncIterator[tuple[list[Row], Place]]:
        found = self.store["runs"].find({"received_at": {"$gte": since}}).allow_disk_use(True)
        batch: list[Row] = []
        async for row in found.sort([("received_at", 1), ("_id", 1)]):
            batch.append(row)
            if len(batch) == BATCH:
                yield batch, Place(None, row["received_at"])
                batch = []
        if batch:
            yield batch, Place(None, batch[-1]["received_at"])
