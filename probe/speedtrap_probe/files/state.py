"""What the probe remembers between runs: data used this month, what a tool costs, the plan."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from speedtrap_probe.files.database import Database
from speedtrap_probe.foreign.bounds import MAX_BYTES
from speedtrap_probe.model import Measurement, Run
from speedtrap_probe.plan import Plan


class State:
    """A few small facts in the probe's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, at: datetime, measurements: Iterable[Measurement]) -> None:
        """Counts what these measurements moved, in the month (of local time) they were made."""
        moved = {
            one.tool: min(MAX_BYTES, one.figures.bytes_received or 0)
            + min(MAX_BYTES, one.figures.bytes_sent or 0)
            for one in measurements
        }
        with self._database.open() as database:
            database.execute(
                "INSERT INTO usage VALUES (?, ?) "
                "ON CONFLICT (month) DO UPDATE SET bytes = bytes + excluded.bytes",
                (_month(at), sum(moved.values())),
            )
            database.executemany(
                "INSERT OR REPLACE INTO costs VALUES (?, ?)",
                [(tool, count) for tool, count in moved.items() if count],
            )

    def spent_bytes(self, at: datetime) -> int:
        """What was moved in the month of *at*."""
        with self._database.open() as database:
            row = database.execute("SELECT bytes FROM usage WHERE month = ?", (_month(at),))
            (spent,) = row.fetchone() or (0,)
        return int(spent)

    def costs(self) -> dict[str, int]:
        """What each tool moved when it last measured, in bytes."""
        with self._database.open() as database:
            return dict(database.execute("SELECT tool, bytes FROM costs").fetchall())

    def imported(self, runs: Sequence[Run]) -> dict[UUID, datetime]:
        """When those of *runs* that were imported before began, as was said then."""
        known = {}
        with self._database.open() as database:
            for run in runs:
                row = database.execute(
                    "SELECT started_at FROM imported WHERE id = ?", (str(run.id),)
                ).fetchone()
                if row is not None:
                    known[run.id] = datetime.fromisoformat(row[0])
        return known

    def remember_imported(self, runs: Iterable[Run]) -> None:
        """So that an import with another time zone can say what it moves."""
        with self._database.open() as database:
            database.executemany(
                "INSERT OR REPLACE INTO imported VALUES (?, ?)",
                [(str(run.id), run.started_at.isoformat()) for run in runs],
            )

    def remember_plan(self, plan: Plan | None) -> None:
        """For the times when the service cannot be asked."""
        text = json.dumps(plan.to_json() if plan else None)
        with self._database.open() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('plan', ?)", (text,))

    def plan(self) -> Plan | None:
        """The plan as the service last told it."""
        document = self._fact("plan")
        try:
            return Plan.from_json(document) if document else None
        except (ValueError, TypeError, LookupError, AttributeError):
            return None

    def remember_limits(self, at: datetime, waits_s: Mapping[str, float]) -> None:
        """Which servers asked to be left alone for how long, from *at*."""
        until = {name: (at + timedelta(seconds=s)).isoformat() for name, s in waits_s.items()}
        with self._database.open() as database:
            row = ("limits", json.dumps(until))
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", row)

    def limits_s(self, at: datetime) -> dict[str, float]:
        """What is left of it at *at*."""
        until = self._fact("limits") or {}
        try:
            left = {name: datetime.fromisoformat(text) - at for name, text in until.items()}
        except (ValueError, TypeError, AttributeError):
            return {}
        return {name: one.total_seconds() for name, one in left.items() if one > timedelta()}

    def _fact(self, name: str) -> Any:
        """None where it is not known or cannot be read: it is learned again."""
        with self._database.open() as database:
            row = database.execute("SELECT CAST(value AS BLOB) FROM facts WHERE name = ?", (name,))
            (value,) = row.fetchone() or (b"null",)
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None


def _month(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m}"
