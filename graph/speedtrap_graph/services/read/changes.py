"""A mark of everything that a page shows: it is another one whenever any of that has changed.

Times would not do: a run from last week may arrive now, and then the newest run is the same.
"""

import hashlib
from collections.abc import AsyncIterator

from pymongo import DESCENDING

from speedtrap_graph.rules.permission import IN_FLIGHT, MAY_HAVE_ARRIVED, WAITING, NoticeStatus
from speedtrap_graph.store.database import Row, Store

_NEWEST_NOTICES = 50
"""Of those that are settled, older ones change with their probe or their recipient only."""
_UNSETTLED = sorted(WAITING | IN_FLIGHT | MAY_HAVE_ARRIVED - {NoticeStatus.SENT})
_NOTICE = {"status": 1, "fence": 1, "attempts": 1, "due_at": 1}


async def changes(store: Store) -> str:
    """The sum of what only ever grows, and a digest of what also goes back (a silence)."""
    grown = 0
    # The versions grow with every plan and every rule that is set or deleted.
    for collection in ("probes", "recipients", "standard_versions"):
        async for row in store[collection].find({}, {"seq": 1}):
            grown += row.get("seq", 0)
    state = hashlib.sha256()
    async for row in _shown(store):
        state.update(repr(sorted(row.items())).encode())
    return f"{grown}-{state.hexdigest()[:16]}"


async def _shown(store: Store) -> AsyncIterator[Row]:
    # A probe that was deleted takes its share of the sum with it.
    for collection in ("silences", "switches", "deleted_probes"):
        async for row in store[collection].find({}, sort=[("_id", 1)]):
            yield row
    # Whether a notice could be sent; not when a bot was last heard of.
    async for row in store["channel_workers"].find({}, {"state": 1}, sort=[("_id", 1)]):
        yield row
    # By channel, as the index begins with it.
    channels = await store["notices"].distinct("channel")
    unsettled = {"channel": {"$in": channels}, "status": {"$in": _UNSETTLED}}
    async for row in store["notices"].find(unsettled, _NOTICE, sort=[("_id", 1)]):
        yield row
    newest = [("planned_at", DESCENDING), ("_id", DESCENDING)]
    async for row in store["notices"].find({}, _NOTICE, sort=newest, limit=_NEWEST_NOTICES):
        yield row
