"""The probe's SQLite file: what waits for the service, and what is remembered between runs.

A run is on the disk before anything else happens to it: write-ahead log, flushed at every commit.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from speedtrap_probe.errors import ProbeError

VERSION = 3
BUSY_TIMEOUT_S = 30.0
LAYOUT = """
CREATE TABLE IF NOT EXISTS runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS rejected (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    reason TEXT NOT NULL, rejected_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS usage (month TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS costs (tool TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS imported (id TEXT PRIMARY KEY, started_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# When a run was kept, by the wall clock and by one that never jumps (see `clock`).
TICKS = ("kept_at TEXT", "boot TEXT", "tick_s REAL")


class Database:
    """One file. Every use is a transaction on a connection of its own: nothing is held between."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Raises ProbeError when the file cannot be made, read or written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProbeError(f"the outbox {self.path} cannot be made: {error.strerror}") from error
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                with database:
                    _lay_out(database)
                    yield database
        except sqlite3.Error as error:
            raise ProbeError(f"the outbox {self.path} cannot be used: {error}") from error


def _lay_out(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    # Two processes may get here at once: the second waits, and finds it done.
    database.execute("BEGIN IMMEDIATE")
    for statement in LAYOUT.split(";"):
        database.execute(statement)
    present = {row[1] for row in database.execute("PRAGMA table_info(runs)")}
    for column in TICKS:
        if column.split()[0] not in present:
            database.execute(f"ALTER TABLE runs ADD COLUMN {column}")
    database.execute(f"PRAGMA user_version = {VERSION}")
