"""How long runs are kept one by one: for ever, unless an operator says otherwise.

What happens then is in `thinning`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.past_runs import PAST_RUNS

LEAST_DAYS = 90
"""A breach, what came of it and a provider's answer should all still be there to look at."""
MOST_DAYS = 36_500

RETENTION = "retention"
_RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Retention:
    """`days` is None while all are kept. `at` and `by`: when and by whom that was decided, if it
    ever was. `removed_runs` are gone so far; `swept_at` is when the last round ended.
    """

    days: int | None = None
    at: datetime | None = None
    by: str | None = None
    swept_at: datetime | None = None
    removed_runs: int = 0

    @property
    def kept(self) -> timedelta | None:
        return None if self.days is None else timedelta(days=self.days)


async def retention(store: Store) -> Retention:
    row = await store[RETENTION].find_one({"_id": _RUNS}) or {}
    removed = await store[PAST_RUNS].estimated_document_count()
    return Retention(row.get("days"), row.get("at"), row.get("by"), row.get("swept_at"), removed)


async def set_retention(store: Store, clock: Clock, days: int | None, by: str) -> Retention:
    if days is not None and not LEAST_DAYS <= days <= MOST_DAYS:
        raise BadInputError(
            f"days must be {LEAST_DAYS} to {MOST_DAYS}, or null to keep every run for ever, "
            f"not {days}",
            field="days",
            allowed=[f"{LEAST_DAYS} to {MOST_DAYS}", "null"],
        )
    row: Row = {"days": days, "at": clock(), "by": by}
    await store[RETENTION].update_one({"_id": _RUNS}, {"$set": row}, upsert=True)
    return await retention(store)


async def note_sweep(store: Store, now: datetime) -> None:
    await store[RETENTION].update_one({"_id": _RUNS}, {"$set": {"swept_at": now}}, upsert=True)
