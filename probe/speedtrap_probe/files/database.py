"""The probe's SQLite file: what waits for the service, and what is remembered between runs.

A run is on the disk before anything else happens to it: write-ahead log, flushed at every commit.
A file that cannot be used is renamed, never deleted, and a new one takes its place with whatever
could be read of the old one.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from speedtrap_probe.errors import NotKeptError

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
SAVED = {
    "runs": "id, document, kept_at, boot, tick_s",
    "rejected": "id, document, reason, rejected_at",
    "usage": "month, bytes",
}
"""What is read out of a damaged file, table by table; the rest is learned again."""
_COMPANIONS = ("-wal", "-shm")
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FORBIDDEN = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_EXTENDED = 8  # bits above which SQLite tells more about the same error

log = logging.getLogger(__name__)


class Database:
    """One file. Every use is a transaction on a connection of its own: nothing is held between."""

    def __init__(self, path: Path, report: Path | None = None) -> None:
        self.path = path
        self._report = report
        self._is_checked = False

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Raises NotKeptError when the file cannot be made, read or written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotKeptError(
                f"the outbox {self.path} cannot be made: {error.strerror}; {self._way_out}"
            ) from error
        before = _identity(self.path)
        try:
            self._check()
            with _connected(self.path) as database:
                yield database
        except sqlite3.Error as error:
            what_next = self._way_out
            if self._replaced(error, before):
                what_next = "it was set aside, and a new one begun: try again"
            raise NotKeptError(
                f"the outbox {self.path} cannot be used: {error}; {what_next}"
            ) from error

    @property
    def _way_out(self) -> str:
        return (
            f"{self.path.parent} must be a folder, with room, that belongs to the user who runs "
            "the probe, or name another in SPEEDTRAP_PROBE_DATA_DIR"
        )

    def _check(self) -> None:
        """Once a process: a file that was cut off shows it only where it is read to its end."""
        if self._is_checked:
            return
        before = _identity(self.path)
        try:
            with _connected(self.path) as database:
                (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise _error(sqlite3.SQLITE_CORRUPT, found)
            if _is_closed(self.path):  # SQLite says so only to a writer
                raise _error(sqlite3.SQLITE_READONLY, "it may not be written by this user")
        except sqlite3.Error as error:
            if not self._replaced(error, before):
                raise
        self._is_checked = True

    def _replaced(self, error: sqlite3.Error, before: tuple[int, int] | None) -> bool:
        """Whether the file was set aside, and a new one begun. Not where another process was
        quicker, and not where a file that cannot be made was the trouble.
        """
        if before is None or not _is_unusable(self.path, error):
            return False
        if _identity(self.path) != before:
            return True
        aside = self.path.with_name(f"{self.path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        try:
            self.path.rename(aside)
        except OSError:
            return False
        for companion in _COMPANIONS:
            with suppress(OSError):
                _beside(self.path, companion).rename(_beside(aside, companion))
        saved = self._save(aside)
        also = (
            f"; those that could not are in the CSV: `speedtrap-probe import {self._report}` "
            "brings them"
            if self._report
            else ""
        )
        log.error(
            "the outbox %s could not be used (%s): it is kept as %s, and a new one was begun with "
            "the %d runs that could be read of it%s",
            self.path, error, aside, saved, also,
        )  # fmt: skip
        return True

    def _save(self, aside: Path) -> int:
        """Brings what can still be read into the new file; returns how many runs that are."""
        saved = 0
        with suppress(sqlite3.Error), _connected(self.path) as database:
            for table, columns in SAVED.items():
                marks = ", ".join("?" * len(columns.split(",")))
                statement = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
                for row in _readable(aside, table, columns):
                    with suppress(sqlite3.IntegrityError):
                        database.execute(statement, row)
                        saved += table == "runs"
        return saved


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        with database:
            _lay_out(database)
            yield database


def _readable(path: Path, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """From the front up to where it is damaged, then from the back."""
    for order in ("", " DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as old:
            # A text that is no UTF-8 is a row to be set aside later, not the end of the others.
            old.text_factory = lambda raw: raw.decode(errors="replace")
            # A file that was cut off is refused otherwise, and not read up to where it ends.
            old.execute("PRAGMA writable_schema = ON")
            query = f"SELECT {columns} FROM {table} ORDER BY rowid{order}"  # noqa: S608 - as above
            yield from old.execute(query)
            return


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


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells a file from another that took its name."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _beside(path: Path, companion: str) -> Path:
    return path.with_name(path.name + companion)


def _error(code: int, message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = code
    return error


def _is_closed(path: Path) -> bool:
    """Whether this user may not read and write it, or one of the files that belong to it."""
    parts = (path, *(_beside(path, companion) for companion in _COMPANIONS))
    return not all(os.access(part, os.R_OK | os.W_OK) for part in parts if part.exists())


def _is_unusable(path: Path, error: sqlite3.Error) -> bool:
    """Whether no later attempt could mend it. A full disk, a busy file and too many open files
    pass, and the last of them looks as a file does that may not be opened.
    """
    code = getattr(error, "sqlite_errorcode", 0) & ((1 << _EXTENDED) - 1)
    return code in _DAMAGED or (code in _FORBIDDEN and (_is_closed(path) or path.is_dir()))
