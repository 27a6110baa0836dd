"""That a probe lives, and when it will measure next: what makes a silence one."""

from datetime import datetime, timedelta

from speedtrap_graph.store.database import Store

GRACE = timedelta(minutes=15)
"""A run takes minutes, and a machine may have to wake up first."""


async def beat(store: Store, probe: str, now: datetime, next_run_at: datetime | None) -> bool:
    """Remembers it; False for a probe of which no run has come yet.

    Without a next run nothing is expected: a run made by hand promises no other.
    """
    done = await store["probes"].update_one(
        {"_id": probe}, {"$max": {"last_seen_at": now}, "$set": {"next_run_at": next_run_at}}
    )
    return done.matched_count == 1


def is_silent(seen: datetime | None, expected: datetime | None, now: datetime) -> bool:
    """Overdue, and not heard of since."""
    if expected is None or now <= expected + GRACE:
        return False
    return seen is None or seen <= expected + GRACE
