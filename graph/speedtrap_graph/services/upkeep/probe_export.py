"""Everything of one probe in one file that any program reads: a zip of NDJSON, one kind a member.

    manifest.json    whose it is, when it was taken, and how many there are of each kind
    runs.ndjson      as in `/export/runs.ndjson`
    hours.ndjson     of runs that are no longer kept, hour by hour
    plans.ndjson, rules.ndjson, breaches.ndjson, notices.ndjson (attachments in base64), ...

All of one moment, and a page in memory at a time.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import NotFoundError
from speedtrap_graph.rules.grid import Level
from speedtrap_graph.rules.percentiles import MEDIAN
from speedtrap_graph.services.read.runs_export import named
from speedtrap_graph.services.upkeep.backup import whole
from speedtrap_graph.store import rollups as stored
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PROBE_EVENTS
from speedtrap_graph.store.migrations import check_version
from speedtrap_graph.store.past_runs import PAST_RUNS
from speedtrap_graph.store.probes import TOMBSTONES
from speedtrap_graph.store.rollups import ROLLUPS, milliseconds
from speedtrap_graph.timestamps import format_moment

_PAGE = 250

MEMBERS: Mapping[str, tuple[str, str, str]] = {
    "runs": ("runs", "probe", "started_at"),
    "plans": ("plans", "probe", "since"),
    "rules": ("rules", "probe", "_id"),
    "breaches": ("breaches", "probe", "opened_at"),
    "notices": ("notices", "probe", "planned_at"),
    "silences": ("silences", "_id", "_id"),
    "events": ("events", "probe", "_id"),
    "probe-events": (PROBE_EVENTS, "probe", "_id"),
    "deleted-runs": (TOMBSTONES, "probe", "deleted_at"),
    "past-runs": (PAST_RUNS, "probe", "started_at"),
}
"""The collection of each, the field that says whose it is, and the order."""
_KNOWN = (
    "run_count", "first_run_at", "last_seen_at", "next_run_at", "silent_since", "raw_since",
)  # fmt: skip


@dataclass
class ProbeExport:
    store: Store
    clock: Clock
    probe: str
    counts: dict[str, int] = field(default_factory=dict)

    async def to(self, file: Path) -> dict[str, int]:
        """Writes *file*, whole or not at all, for its owner only. How many of each kind."""
        with whole(file) as raw:
            return await self.write(raw)

    async def write(self, raw: IO[bytes]) -> dict[str, int]:
        await check_version(self.store.database)
        with ZipFile(raw, "w", ZIP_DEFLATED) as archive:
            async with self.store.client.start_session(snapshot=True) as session:
                document = await self._document(session)
                for member in MEMBERS:
                    await self._write(archive, member, self._rows(member, session))
                raw_since = document.get("raw_since")
                if raw_since is not None:
                    await self._write(archive, "hours", self._hours(raw_since, session))
            manifest = {
                "probe": self.probe,
                "takenAt": format_moment(self.clock()),
                **named({name: document[name] for name in _KNOWN if name in document}),
                "counts": self.counts,
            }
            archive.writestr("manifest.json", json.dumps(manifest, indent=2) + "\n")
        return self.counts

    async def _document(self, session: Session) -> Row:
        wanted = {"_id": self.probe}
        found = await self.store["probes"].find_one(wanted, session=session)
        if found is None and not await self._has_anything(session):
            raise NotFoundError(f"there is no probe {self.probe[:64]!r}", field="name")
        return found or {}

    async def _has_anything(self, session: Session) -> bool:
        for collection, owner, _ in MEMBERS.values():
            wanted = {owner: self.probe}
            if await self.store[collection].find_one(wanted, {"_id": 1}, session=session):
                return True
        return False

    async def _write(self, archive: ZipFile, member: str, rows: AsyncIterator[Row]) -> None:
        count = 0
        with archive.open(f"{member}.ndjson", "w", force_zip64=True) as stream:
            async for row in rows:
                text = json.dumps(named(row), ensure_ascii=False, separators=(",", ":"))
                stream.write(text.encode() + b"\n")
                count += 1
        self.counts[member] = count

    async def _rows(self, member: str, session: Session) -> AsyncIterator[Row]:
        collection, owner, order = MEMBERS[member]
        found = self.store[collection].find({owner: self.probe}, session=session, batch_size=_PAGE)
        async for row in found.sort(order, 1).allow_disk_use(True):
            yield row

    async def _hours(self, raw_since: datetime, session: Session) -> AsyncIterator[Row]:
        wanted = stored.within(self.probe, [(Level.HOUR, 0, milliseconds(raw_since))])
        found = self.store[ROLLUPS].find(wanted, session=session, batch_size=_PAGE)
        async for row in found.sort("_id", 1):
            yield _hour(row)


def _hour(row: Row) -> Row:
    summary = stored.summary_of(row)
    figures: list[Row] = []
    for (metric, tool), sketch in summary.figures.items():
        p10, median, p90 = sketch.percentiles(0.10, MEDIAN, 0.90)
        figures.append(
            {
                "metric": metric.value, "tool": tool, "n": sketch.n, "min": sketch.least,
                "p10": p10, "median": median, "p90": p90, "max": sketch.greatest,
            }
        )  # fmt: skip
    stretch = summary.stretch
    return {
        "start": row["start"],
        "measured": stretch.measured,
        "outages": stretch.outages,
        "inconclusive": stretch.inconclusive,
        "below": stretch.bad,
        "figures": figures,
    }
