"""When each caller was last heard of: what an operator needs to know before a key is revoked.

Noting one costs a look into a dictionary. It is written down in the background, and for one caller
at most once in ten minutes, whatever the number of copies. The key itself is never near it.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError, PyMongoError

from speedtrap_graph.store.database import Row, Store

_log = logging.getLogger(__name__)

CALLERS = "callers"
EVERY = timedelta(minutes=10)

Who = tuple[str, str]
"""Name and role."""


@dataclass
class KeyUses:
    """Those of this copy of the service."""

    every_s: float = 2.0
    _waiting: dict[Who, datetime] = field(default_factory=dict)
    _written: dict[Who, datetime] = field(default_factory=dict)

    def note(self, name: str, role: str, now: datetime) -> None:
        written = self._written.get((name, role))
        if written is None or now - written >= EVERY:
            self._waiting[name, role] = now

    async def forever(self, store: Store) -> None:
        while True:
            try:
                await self.write(store)
            except PyMongoError as error:
                _log.warning("writing who was here waits for MongoDB: %s", type(error).__name__)
            await asyncio.sleep(self.every_s)

    async def write(self, store: Store) -> None:
        """What was noted and is not on record for the last ten minutes."""
        for who, seen_at in list(self._waiting.items()):
            name, role = who
            row: Row = {"name": name, "role": role, "last_seen_at": seen_at}
            wanted: Row = {"_id": f"{name}:{role}", "last_seen_at": {"$lte": seen_at - EVERY}}
            # A duplicate: another copy has written it within these ten minutes.
            with contextlib.suppress(DuplicateKeyError):
                await store[CALLERS].update_one(wanted, {"$set": row}, upsert=True)
            self._written[who] = seen_at
            if self._waiting.get(who) == seen_at:
                del self._waiting[who]


async def last_seen(store: Store) -> dict[Who, datetime]:
    """Of every caller that was ever heard of."""
    rows = store[CALLERS].find({}, sort=[("name", 1), ("role", 1)])
    return {(row["name"], row["role"]): row["last_seen_at"] async for row in rows}
