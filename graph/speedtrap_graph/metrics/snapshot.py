"""What there is to say of every line and of the house at one moment, read from the database.

So every copy of the service says the same. What is not known is None or missing, never 0.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from speedtrap_graph.metrics.standing import Line, line_of
from speedtrap_graph.rules.report import ServiceReport
from speedtrap_graph.services.breaches.verify import OPEN
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.judging.standards import Standards, choose
from speedtrap_graph.services.notices.records import SENDING_SWITCH
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import PROBE_EVENTS
from speedtrap_graph.store.events import COUNTER
from speedtrap_graph.store.exports import COLLECTION as EXPORTS
from speedtrap_graph.store.probes import EVERY_PROBE, VERSIONS
from speedtrap_graph.store.rollups import MARKS

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class House:
    """What concerns the service as a whole. Sizes are bytes; `exports` when each exporter was up
    to date last; `events` the newest number of each stream.
    """

    probes: int
    silent_probes: int
    notices: Mapping[tuple[str, str], int]
    sending_is_on: bool
    events: Mapping[str, int]
    exports: Mapping[str, datetime]
    unrolled_spans: int


@dataclass(frozen=True, slots=True)
class Disk:
    """In bytes. Of the file system only where MongoDB tells."""

    data: int
    file_system: int | None
    file_system_used: int | None


@dataclass(frozen=True)
class Snapshot:
    store: Store
    now: datetime
    _of_all: dict[str, Standards] = field(default_factory=dict)

    async def house(self) -> House:
        store = self.store
        silent = {"silent_since": {"$exists": True}}
        counters = {row["_id"]: int(row["seq"]) async for row in store["counters"].find()}
        switched_off = await store["switches"].find_one({"_id": SENDING_SWITCH, "on": False})
        return House(
            probes=await store["probes"].estimated_document_count(),
            silent_probes=await store["probes"].count_documents(silent),
            notices=await self._notices(),
            sending_is_on=switched_off is None,
            events={
                "breaches": counters.get(COUNTER, 0),
                "probes": counters.get(PROBE_EVENTS, 0),
            },
            exports={row["_id"]: row["at"] async for row in store[EXPORTS].find() if row.get("at")},
            unrolled_spans=await store[MARKS].estimated_document_count(),
        )

    async def disk(self) -> Disk:
        found = await self.store.database.command("dbStats")
        total, used = found.get("fsTotalSize"), found.get("fsUsedSize")
        return Disk(
            int(found["totalSize"]),
            None if total is None else int(total),
            None if used is None else int(used),
        )

    async def lines(self, most: int) -> list[Line]:
        """Of at most *most* probes, in the order of their names."""
        rows = await self.store["probes"].find({}, sort=[("_id", 1)], limit=most).to_list()
        names = [row["_id"] for row in rows]
        runs = await self._runs([row["newest"]["id"] for row in rows if row.get("newest")])
        breaches = await self._open_breaches(names)
        standards = await self._standards(names)
        return [
            line_of(row, runs, standards[row["_id"]], breaches[row["_id"]], self.now)
            for row in rows
        ]

    async def week(self, probe: str) -> ServiceReport:
        """What the page's report says of the last seven days. After `lines`."""
        standards = self._of_all[probe]
        return await service_report(
            self.store.database,
            probe,
            self.now - WEEK,
            self.now,
            standards.pure_plans,
            standards.pure_rules,
        )

    async def _notices(self) -> dict[tuple[str, str], int]:
        """From the index alone: a notice carries its attachments."""
        index = {"channel": 1, "status": 1, "due_at": 1}
        kind = {"channel": "$channel", "status": "$status"}
        rows = await self.store["notices"].aggregate(
            [{"$group": {"_id": kind, "n": {"$sum": 1}}}], hint=index
        )
        return {(row["_id"]["channel"], row["_id"]["status"]): row["n"] async for row in rows}

    async def _runs(self, ids: Sequence[UUID]) -> dict[UUID, Row]:
        return {row["_id"]: row async for row in self.store["runs"].find({"_id": {"$in": ids}})}

    async def _open_breaches(self, names: Sequence[str]) -> Counter[str]:
        wanted = {"probe": {"$in": names}, "status": OPEN}
        found = self.store["breaches"].find(wanted, {"probe": 1})
        return Counter([row["probe"] async for row in found])

    async def _standards(self, names: Sequence[str]) -> dict[str, Standards]:
        """As `load_standards`, for many at once."""
        mine = {"probe": {"$in": [*names, None]}}
        versions = {row["_id"]: int(row["seq"]) async for row in self.store[VERSIONS].find()}
        plans = _by_probe(await self.store["plans"].find(mine).to_list())
        rules = _by_probe(await self.store["rules"].find(mine).to_list())
        for name in names:
            version = versions.get(EVERY_PROBE, 0), versions.get(name, 0)
            own = [*plans[None], *plans[name]], [*rules[None], *rules[name]]
            self._of_all[name] = choose(name, *own, version)
        return self._of_all


def _by_probe(rows: Sequence[Row]) -> defaultdict[str | None, list[Row]]:
    found: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.get("probe")].append(row)
    return found
