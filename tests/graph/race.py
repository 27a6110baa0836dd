"""Several server processes that take the same runs at once, shuffled, some twice; held against the
model. Small in the suite, large in the bench.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric
from speedtrap_graph.rules.sketch import KEPT_VALUES
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.store.database import Store

from tests.graph.held import modelled_buckets, stored_breaches, stored_buckets
from tests.graph.model import Run, World
from tests.graph.rules.builders import a_plan
from tests.lab.runs import SUBMIT
from tests.lab.service import Service

CALLERS = 8
"""At each server at a time."""
EVERY = timedelta(minutes=30)
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
PLAN = a_plan(1000, 100)
_SHARES = (0.7, 0.2, 0.05)
"""Slow, good, outages; the rest says nothing."""


@dataclass(frozen=True)
class Race:
    """What came of it. `per_s` counts answered submissions of one run each."""

    per_s: float
    breaches: int
    exact: int
    """Probes that ended as the model says."""
    probes: int


def runs_of(probe: str, number: int, count: int) -> list[Run]:
    draw = random.Random(number)
    return [_a_run(draw, probe, number << 32 | place, place) for place in range(count)]


def _a_run(draw: random.Random, probe: str, number: int, place: int) -> Run:
    # Two of three share their moment with a neighbour.
    at = (FIRST + EVERY * (place // 3 * 3)).isoformat()
    slow, good, outage = _SHARES
    kind = draw.random()
    measurement: dict[str, Any] = {"tool": "ookla", "startedAt": at, "durationS": 9}
    if kind < slow + good:
        figure = draw.uniform(50, 400) if kind < slow else draw.uniform(600, 980)
        measurement["downloadMbps"] = round(figure, 2)
    else:
        measurement["failure"] = {"kind": "TIMEOUT", "message": "no answer"}
    return {
        "id": str(UUID(int=number)),
        "probe": probe,
        "startedAt": at,
        "finishedAt": at,
        "conditions": {"lineUp": not slow + good <= kind < slow + good + outage},
        "measurements": [measurement],
    }


async def race(services: Sequence[Service], runs: Sequence[Run], seed: int = 1) -> float:
    """Submits every run by itself, a tenth of them twice, anywhere; how many a second."""
    draw = random.Random(seed)
    arriving = [*runs, *draw.sample(runs, len(runs) // 10)]
    draw.shuffle(arriving)
    queue = iter(arriving)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=service.base_url,
                    headers={"X-API-Key": service.keys["admin"]},
                    timeout=120,
                )
            )
            for service in services
        ]
        began = time.perf_counter()
        await asyncio.gather(
            *(_caller(client, queue) for client in clients for _ in range(CALLERS))
        )
        return len(arriving) / (time.perf_counter() - began)


async def _caller(client: httpx.AsyncClient, queue: Any) -> None:
    for run in queue:
        body = json.dumps({"query": SUBMIT, "variables": {"runs": [run]}})
        answer = await client.post(
            "/graphql", content=body, headers={"Content-Type": "application/json"}
        )
        told = answer.json()["data"]["submitRuns"]
        assert told["rejected"] == []
        assert told["accepted"] + told["duplicates"] == [run["id"]]


async def held_against_the_model(
    store: Store, per_s: float, by_probe: dict[str, list[Run]]
) -> Race:
    """Breaches; and buckets, as far as none has more figures than are kept one by one."""
    exact = breaches = 0
    for probe, runs in by_probe.items():
        world = World(runs, [PLAN], {"DOWNLOAD": DEFAULT_RULE})
        expected = world.breaches()
        breaches += len(expected)
        await Rollups(store.database, probe, [PLAN], {Metric.DOWNLOAD: DEFAULT_RULE}).refresh()
        exact += await stored_breaches(store, probe) == sorted(expected, key=repr) and (
            len(runs) > KEPT_VALUES or await stored_buckets(store, probe) == modelled_buckets(world)
        )
    return Race(per_s, breaches, exact, len(by_probe))


async def buy(service: Service) -> None:
    bought = {
        "provider": PLAN.provider,
        "downloadMbps": PLAN.download_mbps,
        "uploadMbps": PLAN.upload_mbps,
        "timeZone": PLAN.time_zone,
    }
    document = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
    await asyncio.to_thread(service.query, document, {"plan": bought})
