"""A mark of everything that a page shows: it is another one whenever any of that has changed.

Times would not do: a run from last week may arrive now, and then the newest run is the same.
"""

import hashlib

from pymongo import DESCENDING

from speedtrap_graph.store.database import Store

_NEWEST_NOTICES = 50
"""Older ones are settled, or their recipient's number moves with them."""


async def changes(store: Store) -> str:
    """The sum of what only ever grows, and a digest of what also goes back (a silence)."""
    grown = 0
    for collection in ("probes", "recipients"):
        async for row in store[collection].find({}, {"seq": 1}):
            grown += row.get("seq", 0)
    state = hashlib.sha256()
    silences = store["silences"].find({}, {"until": 1, "reason": 1}, sort=[("_id", 1)])
    shown = {"status": 1, "fence": 1, "attempts": 1, "due_at": 1}
    newest = store["notices"].find(
        {}, shown, sort=[("planned_at", DESCENDING), ("_id", DESCENDING)], limit=_NEWEST_NOTICES
    )
    for rows in (silences, newest):
        async for row in rows:
            state.update(repr(sorted(row.items())).encode())
    state.update(repr(await store["plans"].count_documents({})).encode())
    return f"{grown}-{state.hexdigest()[:16]}"
