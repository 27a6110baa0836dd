"""What long histories cost. Each line is `name ratio reference`: medians, taken by turns.

`history_growth` and `report_growth`: one year asked of a probe with ten years, over the same of one
with one year. `_dense`: with ten times the runs in that year. `_range`: all ten years asked for.
`history_buckets`: 600 buckets over the aggregation that gives the same ones and nothing else;
`_rolled`: 600 days over the aggregation of their runs; `_fetched`: over fetching those buckets.
"""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import UUID

from speedtrap_graph.rules.grid import Level
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.rollups import EXACT_RUNS, Rollups
from speedtrap_graph.services.history.series import History, HistoryQuery, history
from speedtrap_graph.store import rollups as stored
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.rollups import milliseconds

from tests.graph.rules.builders import a_plan
from tests.lab.mongo import Mongod

REPETITIONS = 15
PLANS = [a_plan(1000, 100, time_zone="Europe/Berlin")]
RULES = {Metric.DOWNLOAD: DEFAULT_RULE}
UNTIL = datetime(2026, 6, 15, tzinfo=UTC)
A_YEAR, TEN_YEARS = timedelta(days=365), timedelta(days=3650)
HOURLY = timedelta(hours=1)

Timed = Callable[[], Awaitable[Any]]


async def bench_history_and_report(mongod: Mongod, database_name: str) -> None:
    async with _filled(mongod, database_name) as store:
        year, decade = UNTIL - A_YEAR, UNTIL - TEN_YEARS
        ask, report = _asker(store), _reporter(store)
        print()
        await _compare(
            ("history_growth", lambda: ask("young", year), lambda: ask("old", year)),
            ("history_growth_dense", lambda: ask("young", year), lambda: ask("dense", year)),
            ("history_growth_range", lambda: ask("young", year), lambda: ask("old", decade)),
            ("report_growth", lambda: report("young", year), lambda: report("old", year)),
            ("report_growth_dense", lambda: report("young", year), lambda: report("dense", year)),
            ("report_growth_range", lambda: report("young", year), lambda: report("old", decade)),
        )
        exact, rolled = UNTIL - HOURLY * EXACT_RUNS, UNTIL - timedelta(days=600)
        assert len((await ask("young", exact)).t) == 600
        # Midnight of UTC is none in Berlin, so that there is one more day than buckets.
        assert len((await ask("old", rolled)).t) in {301, 600}
        await _compare(
            ("history_buckets", lambda: _bare(store, "young", exact), lambda: ask("young", exact)),
            ("history_buckets_rolled", lambda: _bare(store, "old", rolled),
             lambda: ask("old", rolled)),
            ("history_buckets_fetched", lambda: _fetch(store, "old", rolled),
             lambda: ask("old", rolled)),
        )  # fmt: skip


def _asker(store: Store) -> Callable[[str, datetime], Awaitable[History]]:
    def ask(probe: str, since: datetime) -> Awaitable[History]:
        return history(store.database, HistoryQuery(probe, since, UNTIL), PLANS, RULES)

    return ask


def _reporter(store: Store) -> Callable[[str, datetime], Awaitable[Any]]:
    def report(probe: str, since: datetime) -> Awaitable[Any]:
        return service_report(store.database, probe, since, UNTIL, PLANS, RULES)

    return report


async def _compare(*pairs: tuple[str, Timed, Timed]) -> None:
    """Prints what the second of each pair takes over what the first does."""
    for name, reference, subject in pairs:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPETITIONS):
            for run, taken in zip((reference, subject), times, strict=True):
                began = time.perf_counter()
                await run()
                taken.append(time.perf_counter() - began)
        base, mine = median(times[0]), median(times[1])
        print(f"{name} {mine / base:.2f} {base * 1000:.1f}ms")


async def _bare(store: Store, probe: str, since: datetime) -> None:
    """The shortest aggregation that gives 600 buckets of one probe's downloads."""
    width_ms = (UNTIL - since) // timedelta(milliseconds=1) // 600
    start = {"$divide": [{"$subtract": ["$started_at", since]}, width_ms]}
    place = {"$floor": {"$multiply": [{"$size": "$v"}, 0.5]}}
    pipeline: list[dict[str, Any]] = [
        {"$match": {"probe": probe, "started_at": {"$gte": since, "$lt": UNTIL}}},
        {"$group": {"_id": {"$floor": start}, "v": {"$push": "$best.DOWNLOAD"}}},
        {"$set": {"v": {"$sortArray": {"input": "$v", "sortBy": 1}}}},
        {"$project": {
            "n": {"$size": "$v"}, "min": {"$first": "$v"}, "max": {"$last": "$v"},
            "median": {"$arrayElemAt": ["$v", place]},
        }},
    ]  # fmt: skip
    await (await store["runs"].aggregate(pipeline)).to_list()


async def _fetch(store: Store, probe: str, since: datetime) -> None:
    span = (Level.DAY, milliseconds(since), milliseconds(UNTIL))
    wanted = stored.within(probe, [span])
    await store["rollups"].find(wanted, stored.of_series(Metric.DOWNLOAD, None)).to_list()


@asynccontextmanager
async def _filled(mongod: Mongod, database_name: str) -> AsyncIterator[Store]:
    store = connect(mongod.uri, database_name)
    await prepare(store)
    for number, (probe, past, every) in enumerate(
        [("young", A_YEAR, HOURLY), ("old", TEN_YEARS, HOURLY), ("dense", A_YEAR, HOURLY / 10)]
    ):
        rows = runs_of(probe, past, every, number)
        for start in range(0, len(rows), 5000):
            await store["runs"].insert_many(rows[start : start + 5000], ordered=False)
        began = time.perf_counter()
        await Rollups(store.database, probe, PLANS, RULES).refresh()
        taken = time.perf_counter() - began
        print(f"\n{probe}: {len(rows)} runs rolled up in {taken:.0f} s", end="", flush=True)
    yield store
    await store.close()


def runs_of(
    probe: str, past: timedelta, every: timedelta, number: int, until: datetime = UNTIL
) -> list[dict[str, Any]]:
    """As they are stored, oldest first."""
    draw = random.Random(number)
    return [
        _run(draw, probe, until - past + every * (place + draw.random()), place | number << 40)
        for place in range(past // every)
    ]


def _run(draw: random.Random, probe: str, at: datetime, number: int) -> dict[str, Any]:
    best = {"DOWNLOAD": draw.gauss(900, 60), "UPLOAD": draw.gauss(95, 2), "LATENCY": 12.5}
    figures = {
        "started_at": at,
        "duration_s": 20.0,
        "download_mbps": best["DOWNLOAD"],
        "upload_mbps": best["UPLOAD"],
        "latency_ms": best["LATENCY"],
    }
    down = draw.random() < 0.01
    failure = {"tool": "ookla", "failure": {"kind": "NO_NETWORK", "message": "no route"}}
    return {
        "_id": UUID(int=number),
        "probe": probe,
        "started_at": at,
        "finished_at": at + timedelta(minutes=1),
        "received_at": at + timedelta(minutes=1),
        "conditions": {"line_up": not down, "medium": "WIRED"},
        "measurements": [failure]
        if down
        else [{"tool": "ookla", **figures}, {"tool": "lan", **figures}],
        "outcome": "OUTAGE" if down else "MEASURED",
        "outcome_reason": "Measured by ookla.",
        "best": {} if down else best,
    }
