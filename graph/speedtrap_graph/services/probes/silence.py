"""That a probe lives, and when it will measure next: what makes a silence one.

A silence begins and ends once, whatever the number of copies that look: both are written in a
transaction that first bumps the probe's document, together with the event that tells of it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pymongo.errors import PyMongoError

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.probe_events import (
    append_probe_event,
    last_probe_event,
    newest_probe_events,
    probe_events_after,
)
from speedtrap_graph.store.probes import bump_probe

_log = logging.getLogger(__name__)


class ProbeEventKind(StrEnum):
    PROBE_SILENT = "PROBE_SILENT"
    PROBE_BACK = "PROBE_BACK"


GRACE = timedelta(minutes=15)
"""A run takes minutes, and a machine may have to wake up first."""
MOST_EVENTS = 500
_LOOK_EVERY_S = 2.0
_PAGE = 200


async def beat(store: Store, probe: str, now: datetime, next_run_at: datetime | None) -> bool:
    """Remembers it; False for a probe of which no run has come yet.

    Without a next run nothing is expected: a run made by hand promises no other.
    """
    before = await store["probes"].find_one_and_update(
        {"_id": probe},
        {"$max": {"last_seen_at": now}, "$set": {"next_run_at": next_run_at}},
        {"silent_since": 1},
    )
    if before is not None and "silent_since" in before:
        await _end_silence(store, probe, now)
    return before is not None


def silent_at(expected: datetime | None) -> datetime | None:
    """From when on nothing heard means silent, where the next run is due at *expected*."""
    return None if expected is None else expected + GRACE


def is_silent(seen: datetime | None, expected: datetime | None, now: datetime) -> bool:
    """Overdue, and not heard of since."""
    if expected is None or now <= expected + GRACE:
        return False
    return seen is None or seen <= expected + GRACE


async def heard_of(store: Store, session: Session, document: Row, now: datetime) -> Row:
    """In the transaction that takes its runs: the fields to unset, and the event, of a probe that
    was silent until now.
    """
    since = document.get("silent_since")
    if since is None:
        return {}
    await append_probe_event(store, session, ProbeEventKind.PROBE_BACK, document["_id"], since, now)
    return {"$unset": {"silent_since": ""}}


@dataclass(frozen=True)
class SilenceWatch:
    """Looks for silences that begin, and for ends that a crash kept from being told."""

    store: Store
    clock: Clock
    every_s: float = 30.0

    async def forever(self) -> None:
        while True:
            try:
                await self.once()
            except PyMongoError as error:
                _log.warning("watching the probes waits for MongoDB: %s", type(error).__name__)
            await asyncio.sleep(self.every_s)

    async def once(self) -> None:
        now = self.clock()
        overdue = {"next_run_at": {"$lt": now - GRACE}, "silent_since": {"$exists": False}}
        fields = {"last_seen_at": 1, "next_run_at": 1}
        for row in await self.store["probes"].find(overdue, fields).to_list():
            if is_silent(row.get("last_seen_at"), row["next_run_at"], now):
                await self._begin(row["_id"], now)
        silent = {"silent_since": {"$exists": True}}
        for row in await self.store["probes"].find(silent, fields).to_list():
            if not is_silent(row.get("last_seen_at"), row.get("next_run_at"), now):
                await _end_silence(self.store, row["_id"], now)

    async def _begin(self, probe: str, now: datetime) -> None:
        async def work(session: Session) -> None:
            row = await bump_probe(self.store, session, probe)
            expected: datetime | None = row.get("next_run_at")
            if expected is None or "silent_since" in row:
                return
            if not is_silent(row.get("last_seen_at"), expected, now):
                return
            since, kind = expected + GRACE, ProbeEventKind.PROBE_SILENT
            await _set(self.store, session, probe, {"$set": {"silent_since": since}})
            await append_probe_event(self.store, session, kind, probe, since, now)

        await self.store.transaction(work)


async def follow_probes(store: Store, after: str | None) -> AsyncGenerator[Row, None]:
    """The events behind *after* and those to come. A silence is hours long: looking every two
    seconds is soon enough.
    """
    newest = await last_probe_event(store)
    seen = newest if after is None else _cursor(after, "after")
    if seen > newest:
        raise BadInputError(
            f"after is {seen}, but the newest event is {newest}: is this cursor from another"
            " database?",
            field="after",
        )
    while True:
        rows = await probe_events_after(store, seen, _PAGE)
        for row in rows:
            seen = row["_id"]
            yield row
        if len(rows) < _PAGE:
            await asyncio.sleep(_LOOK_EVERY_S)


async def probe_events(
    store: Store, probe: str | None, first: int, before: str | None = None
) -> list[Row]:
    """The newest first, or the newest before the one with a cursor."""
    if not 1 <= first <= MOST_EVENTS:
        raise BadInputError(f"first must be 1 to {MOST_EVENTS}, not {first}", field="first")
    earlier = None if before is None else _cursor(before, "before")
    return await newest_probe_events(store, probe, first, earlier)


def _cursor(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInputError(f"{field} must be the cursor of an event, or 0", field=field)
    return int(text)


async def _end_silence(store: Store, probe: str, now: datetime) -> None:
    async def work(session: Session) -> None:
        row = await bump_probe(store, session, probe)
        if is_silent(row.get("last_seen_at"), row.get("next_run_at"), now):
            return
        update = await heard_of(store, session, row, now)
        if update:
            await _set(store, session, probe, update)

    await store.transaction(work)


async def _set(store: Store, session: Session, probe: str, update: Row) -> None:
    await store["probes"].update_one({"_id": probe}, update, session=session)
