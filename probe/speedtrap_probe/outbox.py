"""Runs that the service has not acknowledged yet, in SQLite: they survive kill -9 and power loss.

A run is written before it is sent and removed after it was acknowledged. Several processes may
use one outbox: sending a run twice is harmless, the service stores it once.

It is bounded. When it is full its oldest runs go, and when a run has waited too long it goes; what
went is told by `put`, and is still in the CSV.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from speedtrap_probe.clock import Tick
from speedtrap_probe.database import Database
from speedtrap_probe.model import Run, from_json, to_json

REJECTED_CAPACITY = 10_000
# The newest stay however old they seem: a clock that jumped ahead must not empty the outbox.
NEVER_TOO_OLD = 100
TRIMMED_AT_ONCE = 10  # the oldest tenth makes room for long enough


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the outbox keeps at most: bytes of its file in use, and how long a run may wait."""

    size_bytes: int = 64_000_000
    age_s: float = 2 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A run that the service does not take as it is, and why."""

    run: Run
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that waits, and when it was put away (None: it was imported)."""

    run: Run
    tick: Tick | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Runs that had to go before they were delivered."""

    too_many: int = 0
    too_old: int = 0

    def __bool__(self) -> bool:
        return bool(self.too_many or self.too_old)


class Outbox:
    """The runs that wait, oldest first."""

    def __init__(self, database: Database | Path, bounds: Bounds = Bounds()) -> None:
        self._database = Database(database) if isinstance(database, Path) else database
        self._bounds = bounds

    def put(self, runs: Iterable[Run], tick: Tick | None = None) -> Dropped:
        """Keeps *runs* until they are delivered; on the disk when this returns.

        *tick* is now, if the runs end now. Returns what had to go by the outbox's bounds.
        """
        now = datetime.now(UTC)
        boot, tick_s = (tick.boot, tick.seconds) if tick else (None, None)
        with self._database.open() as database:
            database.executemany(
                "INSERT OR IGNORE INTO runs (id, document, kept_at, boot, tick_s) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (str(run.id), json.dumps(to_json(run)), now.isoformat(), boot, tick_s)
                    for run in runs
                ],
            )
            oldest = (now - timedelta(seconds=self._bounds.age_s)).isoformat()
            too_old = database.execute(
                "DELETE FROM runs WHERE kept_at < ? AND place <= (SELECT max(place) FROM runs) - ?",
                (oldest, NEVER_TOO_OLD),
            ).rowcount
            return Dropped(_shrink(database, self._bounds.size_bytes), too_old)

    def waiting(self, limit: int, after: UUID | None = None) -> Sequence[Run]:
        """The oldest *limit* runs, or those behind the run *after*."""
        return [kept.run for kept in self.kept(limit, after)]

    def kept(self, limit: int, after: UUID | None = None) -> Sequence[Kept]:
        """The same, with what is needed to put their times right."""
        with self._database.open() as database:
            rows = database.execute(
                "SELECT document, boot, tick_s FROM runs WHERE place > "
                "coalesce((SELECT place FROM runs WHERE id = ?), 0) ORDER BY place LIMIT ?",
                (str(after), limit),
            ).fetchall()
        return [
            Kept(from_json(json.loads(document)), Tick(boot, tick_s) if boot else None)
            for document, boot, tick_s in rows
        ]

    def acknowledged(self, ids: Iterable[UUID]) -> None:
        """Forgets what the service has."""
        with self._database.open() as database:
            database.executemany("DELETE FROM runs WHERE id = ?", [(str(id_),) for id_ in ids])

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Sets aside what the service does not take."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.open() as database:
            for one in rejected:
                database.execute(
                    "INSERT OR IGNORE INTO rejected (id, document, reason, rejected_at) "
                    "VALUES (?, ?, ?, ?)",
                    (str(one.run.id), json.dumps(to_json(one.run)), one.reason, now),
                )
                database.execute("DELETE FROM runs WHERE id = ?", (str(one.run.id),))
            database.execute(
                "DELETE FROM rejected WHERE place <= "
                "(SELECT place FROM rejected ORDER BY place DESC LIMIT 1 OFFSET ?)",
                (REJECTED_CAPACITY,),
            )

    def retry(self) -> int:
        """Queues again what was set aside; returns how many runs that are."""
        with self._database.open() as database:
            now = datetime.now(UTC).isoformat()
            database.execute(
                "INSERT OR IGNORE INTO runs (id, document, kept_at) "
                "SELECT id, document, ? FROM rejected ORDER BY place",
                (now,),
            )
            return database.execute("DELETE FROM rejected").rowcount

    def rejections(self) -> Sequence[Rejected]:
        """What was set aside, oldest first."""
        with self._database.open() as database:
            rows = database.execute(
                "SELECT document, reason FROM rejected ORDER BY place"
            ).fetchall()
        return [Rejected(from_json(json.loads(document)), reason) for document, reason in rows]

    def __len__(self) -> int:
        with self._database.open() as database:
            (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)


def _shrink(database: sqlite3.Connection, size_bytes: int) -> int:
    """Lets the oldest go until the rest fits."""
    gone = 0
    while _used_bytes(database) > size_bytes:
        (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
        if count <= 1:  # the newest stays, whatever it weighs
            break
        gone += database.execute(
            "DELETE FROM runs WHERE place IN (SELECT place FROM runs ORDER BY place LIMIT ?)",
            (max(1, count // TRIMMED_AT_ONCE),),
        ).rowcount
    return gone


def _used_bytes(database: sqlite3.Connection) -> int:
    """Of the file's pages, those that hold something: deleting does not make the file small."""
    numbers = [
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    ]
    return int((numbers[0] - numbers[1]) * numbers[2])
