"""What the service has on record, in the words of the model that it is held against."""

from typing import Any

from speedtrap_graph.rules.sketch import KEPT_VALUES, Sketch
from speedtrap_graph.store import rollups as stored
from speedtrap_graph.store.database import Store

from tests.graph.model import Breach, World


async def stored_breaches(store: Store, probe: str) -> list[Breach]:
    """Those that stand."""
    rows = store["breaches"].find({"probe": probe, "status": {"$ne": "RETRACTED"}})
    found = [
        Breach(
            row["rule_key"], str(row["first_run"]), row["first_run_at"], row["opened_at"],
            row["last_run_at"], row["resolved_at"], row["bad_count"], row["median"],
            row["subscribed_mbps"],
        )
        async for row in rows
    ]  # fmt: skip
    return sorted(found, key=repr)


async def stored_buckets(store: Store, probe: str) -> dict[Any, Any]:
    assert await store["rollup_marks"].count_documents({"probe": probe}) == 0
    found: dict[Any, Any] = {}
    async for row in store["rollups"].find(stored.all_of(probe)):
        summary = stored.summary_of(row)
        stretch = summary.stretch
        found[row["_id"].split("/")[1], stored.start_of(row)] = (
            {"MEASURED": stretch.measured, "OUTAGE": stretch.outages,
             "INCONCLUSIVE": stretch.inconclusive},
            {True: stretch.bad, False: stretch.good},
            stretch.longest,
            {key: _of_sketch(sketch) for key, sketch in summary.figures.items()},
            {divmod(hour, 24): _of_sketch(sketch) for hour, sketch in summary.hours.items()},
            {key: n for key, n in summary.worse.items() if n},
            {key: n for key, n in summary.outages_below.items() if n},
        )  # fmt: skip
    return found


def modelled_buckets(world: World) -> dict[Any, Any]:
    outcomes = ("MEASURED", "OUTAGE", "INCONCLUSIVE")
    return {
        place: (
            {outcome: bucket.outcomes[outcome] for outcome in outcomes},
            {verdict: bucket.verdicts[verdict] for verdict in (True, False)},
            bucket.longest,
            {key: _of_values(values) for key, values in bucket.figures.items()},
            {hour: _of_values(values) for hour, values in bucket.hours.items()},
            {key: n for key, n in bucket.worse.items() if n},
            {key: n for key, n in bucket.outages_below.items() if n},
        )
        for place, bucket in world.buckets().items()
    }


def _of_sketch(sketch: Sketch) -> Any:
    return (
        _of_values(sketch.values)
        if not sketch.binned
        else (sketch.n, sketch.least, sketch.greatest)
    )


def _of_values(values: list[float]) -> Any:
    """All of them while they are kept one by one, then what of them stays exact."""
    if len(values) <= KEPT_VALUES:
        return sorted(values)
    return len(values), min(values), max(values)
