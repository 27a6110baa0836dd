"""What the probe remembers between runs: data used this month, what a tool costs, the plan."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from speedtrap_probe.database import Database
from speedtrap_probe.model import Measurement
from speedtrap_probe.plan import Plan


class State:
    """A few small facts in the probe's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, at: datetime, measurements: Iterable[Measurement]) -> None:
        """Counts what these measurements moved, in the month (of local time) they were made."""
        moved = {
            one.tool: (one.figures.bytes_received or 0) + (one.figures.bytes_sent or 0)
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

    def remember_plan(self, plan: Plan | None) -> None:
        """For the times when the service cannot be asked."""
        text = json.dumps(plan.to_json() if plan else None)
        with self._database.open() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('plan', ?)", (text,))

    def plan(self) -> Plan | None:
        """The plan as the service last told it."""
        with self._database.open() as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'plan'").fetchone()
        document = json.loads(row[0]) if row else None
        return Plan.from_json(document) if document else None

    def remember_limits(self, at: datetime, waits_s: Mapping[str, float]) -> None:
        """Which servers asked to be left alone for how long, from *at*."""
        until = {name: (at + timedelta(seconds=s)).isoformat() for name, s in waits_s.items()}
        with self._database.open() as database:
            row = ("limits", json.dumps(until))
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", row)

    def limits_s(self, at: datetime) -> dict[str, float]:
        """What is left of it at *at*."""
        with self._database.open() as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'limits'").fetchone()
        until = json.loads(row[0]) if row else {}
        left = {name: datetime.fromisoformat(text) - at for name, text in until.items()}
        return {name: one.total_seconds() for name, one in left.items() if one > timedelta()}


def _month(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m}"
