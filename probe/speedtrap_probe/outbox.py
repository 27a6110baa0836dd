"""Runs that the service has not acknowledged yet, in SQLite: they survive kill -9 and power loss.

A run is written before it is sent and removed after it was acknowledged. Several processes may
use one outbox: sending a run twice is harmless, the service stores it once.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from speedtrap_probe.errors import ProbeError
from speedtrap_probe.model import Run, from_json, to_json

CAPACITY = 50_000  # runs; about 50 MB, or five years of one an hour
REJECTED_CAPACITY = 1_000
BUSY_TIMEOUT_S = 30.0
LAYOUT = """
CREATE TABLE IF NOT EXISTS runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS rejected (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    reason TEXT NOT NULL, rejected_at TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A run that the service will never take, and why."""

    run: Run
    reason: str


class Outbox:
    """The runs that wait, oldest first."""

    def __init__(self, path: Path, capacity: int = CAPACITY) -> None:
        self._path = path
        self._capacity = capacity
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProbeError(f"the outbox {path} cannot be made: {error.strerror}") from error
        with self._open() as database:
            database.executescript(LAYOUT)

    def put(self, runs: Iterable[Run]) -> int:
        """Keeps *runs* until they are delivered; on the disk when this returns.

        Returns how many of the oldest had to go because the outbox is full.
        """
        with self._open() as database:
            database.executemany(
                "INSERT OR IGNORE INTO runs (id, document) VALUES (?, ?)",
                [(str(run.id), json.dumps(to_json(run))) for run in runs],
            )
            return _trim(database, "runs", self._capacity)

    def waiting(self, limit: int, after: UUID | None = None) -> Sequence[Run]:
        """The oldest *limit* runs, or those behind the run *after*."""
        with self._open() as database:
            rows = database.execute(
                "SELECT document FROM runs WHERE place > "
                "coalesce((SELECT place FROM runs WHERE id = ?), 0) ORDER BY place LIMIT ?",
                (str(after), limit),
            ).fetchall()
        return [from_json(json.loads(document)) for (document,) in rows]

    def acknowledged(self, ids: Iterable[UUID]) -> None:
        """Forgets what the service has."""
        with self._open() as database:
            database.executemany("DELETE FROM runs WHERE id = ?", [(str(id_),) for id_ in ids])

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Sets aside what the service will never take."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._open() as database:
            for one in rejected:
                database.execute(
                    "INSERT OR IGNORE INTO rejected (id, document, reason, rejected_at) "
                    "VALUES (?, ?, ?, ?)",
                    (str(one.run.id), json.dumps(to_json(one.run)), one.reason, now),
                )
                database.execute("DELETE FROM runs WHERE id = ?", (str(one.run.id),))
            _trim(database, "rejected", REJECTED_CAPACITY)

    def rejections(self) -> Sequence[Rejected]:
        """What was set aside, oldest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT document, reason FROM rejected ORDER BY place"
            ).fetchall()
        return [Rejected(from_json(json.loads(document)), reason) for document, reason in rows]

    def __len__(self) -> int:
        with self._open() as database:
            (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: nothing is held between calls."""
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                with database:
                    yield database
        except sqlite3.Error as error:
            raise ProbeError(f"the outbox {self._path} cannot be used: {error}") from error


def _trim(database: sqlite3.Connection, table: str, capacity: int) -> int:
    return database.execute(
        f"DELETE FROM {table} WHERE place <= "  # noqa: S608 - the names of our own two tables
        f"(SELECT place FROM {table} ORDER BY place DESC LIMIT 1 OFFSET ?)",
        (capacity,),
    ).rowcount
