"""An import that comes again with a corrected time zone moves its runs, and doubles none.

Only runs that a probe did not measure itself: those have no probe's version, and no duration.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from speedtrap_graph.clock import Clock
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.store.database import Row, Store

_SAME = timedelta(seconds=1)  # no time zone is corrected by less; MongoDB keeps milliseconds


@dataclass(frozen=True)
class Moving:
    store: Store
    clock: Clock

    async def make_way(self, probe: str, runs: Iterable[Row]) -> None:
        """Takes out what is here at another time, so that it can come anew."""
        imported = {run["_id"]: run for run in runs if _is_imported(run)}
        if not imported:
            return
        wanted = {"_id": {"$in": list(imported)}, "probe": probe}
        fields = dict.fromkeys(("started_at", "finished_at", "conditions.probe_version"), 1)
        async for known in self.store["runs"].find(wanted, fields):
            moved_to = imported[known["_id"]]["started_at"]
            if _is_imported(known) and abs(known["started_at"] - moved_to) >= _SAME:
                await Deletion(self.store, self.clock).make_way(known["_id"], moved_to)


def _is_imported(run: Mapping[str, object]) -> bool:
    conditions = run.get("conditions")
    measured = isinstance(conditions, Mapping) and "probe_version" in conditions
    return not measured and run["started_at"] == run["finished_at"]
