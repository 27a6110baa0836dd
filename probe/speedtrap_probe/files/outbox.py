"""Runs that the service has not acknowledged yet, in SQLite: they survive kill -9 and power loss.

A run is written before it is sent and removed after it was acknowledged. Several processes may
use one outbox: sending a run twice is harmless, the service stores it once.

It is bounded. When it is full its oldest runs go, and when a run has waited too long it goes; what
went is told by `put`, and is still in the CSV. A row that cannot be read is set aside, and so is
what the service does not take; of these the oldest move on into a file when there are too many.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from speedtrap_probe.clock import Tick
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files.database import Database
from speedtrap_probe.model import Run, from_json, to_json

SET_ASIDE_CAPACITY = 10_000
SET_ASIDE_MOVED = 1_000  # at once, beyond that
UNREADABLE = "it cannot be read"
# The newest stay however old they seem: a clock that jumped ahead must not empty the outbox.
NEVER_TOO_OLD = 100
TRIMMED_AT_ONCE = 10  # the oldest tenth makes room for long enough

log = logging.getLogger(__name__)


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
class WaitingRun:
    """A run that waits, and when it was put away (None: it was imported)."""

    run: Run
    tick: Tick | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """What waits no longer, and why; perhaps it cannot even be read."""

    id: str
    reason: str


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

    def kept(self, limit: int, after: UUID | None = None) -> Sequence[WaitingRun]:
        """The same, with what is needed to put their times right. Fewer than *limit* are not yet
        the last: what cannot be read was set aside between them.
        """
        with self._database.open() as database:
            while rows := database.execute(
                # As bytes: a text that is no UTF-8 would fail the whole query.
                "SELECT place, CAST(id AS BLOB), CAST(document AS BLOB), CAST(boot AS BLOB), "
                "tick_s FROM runs WHERE place > coalesce((SELECT place FROM runs WHERE id = ?), 0) "
                "ORDER BY place LIMIT ?",
                (str(after), limit),
            ).fetchall():
                if readable := [kept for row in rows if (kept := _readable(database, row))]:
                    return readable
        return []

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
            self._make_room(database)

    def _make_room(self, database: sqlite3.Connection) -> None:
        """Moves the set-aside rows that are oldest into a file: nothing that was kept is lost."""
        (count,) = database.execute("SELECT count(*) FROM rejected").fetchone()
        if count <= SET_ASIDE_CAPACITY:
            return
        oldest = database.execute(
            "SELECT place, CAST(id AS BLOB), CAST(reason AS BLOB), CAST(document AS BLOB) "
            "FROM rejected ORDER BY place LIMIT ?",
            (SET_ASIDE_MOVED,),
        ).fetchall()
        file = self._database.path.with_name("set-aside.ndjson")
        _append(file, [[_text(value) for value in row[1:]] for row in oldest])
        database.execute("DELETE FROM rejected WHERE place <= ?", (oldest[-1][0],))
        log.warning(
            "more than %d runs are set aside: the %d oldest were moved to %s",
            SET_ASIDE_CAPACITY, len(oldest), file,
        )  # fmt: skip

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
        """Of what was set aside the runs that can be read, oldest first."""
        with self._database.open() as database:
            rows = database.execute(
                "SELECT CAST(id AS BLOB), CAST(document AS BLOB), CAST(reason AS BLOB) "
                "FROM rejected ORDER BY place"
            ).fetchall()
        return [
            Rejected(found, _text(reason))
            for id_, document, reason in rows
            if (found := _run(id_, document)) is not None
        ]

    def set_aside(self) -> Sequence[SetAside]:
        """All of it, oldest first."""
        with self._database.open() as database:
            rows = database.execute(
                "SELECT CAST(id AS BLOB), CAST(reason AS BLOB) FROM rejected ORDER BY place"
            ).fetchall()
        return [SetAside(_text(id_), _text(reason)) for id_, reason in rows]

    def __len__(self) -> int:
        with self._database.open() as database:
            (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)


def _readable(database: sqlite3.Connection, row: tuple[Any, ...]) -> WaitingRun | None:
    """The run of a row; one that cannot be read is set aside, so that it stops no other."""
    place, id_, document, boot, tick_s = row
    run = _run(id_, document)
    if run is not None:
        return WaitingRun(
            run, Tick(_text(boot), tick_s) if boot and isinstance(tick_s, float) else None
        )
    database.execute(
        "INSERT OR IGNORE INTO rejected (id, document, reason, rejected_at) "
        "SELECT id, document, ?, ? FROM runs WHERE place = ?",
        (UNREADABLE, datetime.now(UTC).isoformat(timespec="seconds"), place),
    )
    database.execute("DELETE FROM runs WHERE place = ?", (place,))
    log.error(
        "run %s in the outbox cannot be read: it is set aside, `flush` lists it; a newer probe may "
        "read it after `flush --retry`",
        _text(id_),
    )
    return None


def _run(id_: bytes, document: bytes) -> Run | None:
    """None where it is none that this code could have written, or of another name."""
    try:
        run = from_json(json.loads(document))
        json.dumps(to_json(run), allow_nan=False).encode()
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return None
    return run if str(run.id).encode() == id_ and run.started_at.tzinfo else None


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _append(file: Path, rows: Iterable[Sequence[str]]) -> None:
    """On the disk when this returns. Raises ProbeError."""
    names = ("id", "reason", "document")
    lines = (json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise ProbeError(f"{file} cannot be written: {error.strerror}") from error


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
