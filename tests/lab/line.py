"""Time that a test moves, and figures that it hands to the services without GraphQL."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from speedtrap_graph.rules.model import Plan
from speedtrap_graph.services.breaches.plans_and_rules import Plans
from speedtrap_graph.services.intake.ingest import Ingest
from speedtrap_graph.services.intake.submission import Submission
from speedtrap_graph.services.judging.standards import EPOCH
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import BreachDocument

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
"""Hour 0 of every line."""


@dataclass
class MovableClock:
    now: datetime = MIDNIGHT + timedelta(days=2)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Line:
    """One probe's line with a plan of 1000 Mbps; hours count from `MIDNIGHT`."""

    store: Store
    clock: MovableClock = field(default_factory=MovableClock)
    probe: str = "laptop"

    @property
    def ingest(self) -> Ingest:
        return Ingest(self.store, self.clock)

    @property
    def plans(self) -> Plans:
        return Plans(self.store, self.clock)

    async def buy(self, download_mbps: float = 1000.0, since: datetime = EPOCH) -> None:
        await self.plans.set_plan(None, Plan("ISP", download_mbps, None, "UTC", since))

    async def measure(self, *figures: float | None, first_hour: float = 0) -> Submission:
        """One run an hour in one batch. None is an outage."""
        runs = [run_at(first_hour + hour, mbps) for hour, mbps in enumerate(figures)]
        return await self.submit(*runs)

    async def submit(self, *runs: dict[str, Any]) -> Submission:
        result = await self.ingest.submit(runs, only_probe=None)
        assert result.rejected == []
        return result

    async def breaches(self, *, retracted: bool = False) -> list[BreachDocument]:
        found = await BreachDocument.find_all().sort("+first_run_at").to_list()
        return [breach for breach in found if retracted or breach.status != "RETRACTED"]

    async def events(self) -> list[str]:
        rows = self.store["events"].find().sort("_id", 1)
        return [row["kind"] async for row in rows]


def run_at(hour: float, download_mbps: float | None, run_id: UUID | None = None) -> dict[str, Any]:
    started = MIDNIGHT + timedelta(hours=hour)
    measurement: dict[str, Any] = {
        "tool": "ookla",
        "startedAt": started.isoformat(),
        "durationS": 20.0,
    }
    if download_mbps is None:
        measurement["failure"] = {"kind": "NO_NETWORK", "message": "unreachable"}
    else:
        measurement["downloadMbps"] = download_mbps
    return {
        "id": str(run_id or uuid4()),
        "probe": "laptop",
        "startedAt": started.isoformat(),
        "finishedAt": (started + timedelta(seconds=30)).isoformat(),
        "conditions": {"lineUp": download_mbps is not None},
        "measurements": [measurement],
    }
