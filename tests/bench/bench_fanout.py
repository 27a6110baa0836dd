"""How long an event takes from the mutation to its subscribers, by their number.

Prints `fanout_p99 ratio reference`: the 99th percentile over 1,000 subscribers over that of one, in
the same run, and the one's as the reference. `fanout_p50` likewise.

The subscribers of a process are told one after the other, so what bounds the last of them is their
number times what one telling costs it: some 0.2 ms. All who ask the same with the same key share
one execution of the document; each still has a generator, JSON and a frame of its own. Besides, the
thousand clients are this process, which needs 0.15 ms for each, on another processor if there is
one. More copies of the service divide the number.
"""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN, Socket, socket

BREACHES = "subscription { breaches { cursor kind breach { id probe status count medianMbps } } }"
MANY = 1000
EVENTS = 15


async def bench_fanout(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    with running_service(mongod, database_name, tmp_path) as service:
        await asyncio.to_thread(service.query, SET_PLAN, {"plan": PLAN})
        one = await delays_s(service, 1)
        many = await delays_s(service, MANY)
        print()
        for name, share in (("fanout_p50", 0.5), ("fanout_p99", 0.99)):
            reference, found = (sorted(each)[int(len(each) * share)] for each in (one, many))
            print(f"{name} {found / reference:.1f} {reference * 1000:.1f}ms")


async def delays_s(service: Service, subscribers: int) -> list[float]:
    """From sending each of `EVENTS` mutations to each subscriber's having it."""
    runs = slow_runs(6 + EVENTS, probe=f"line-{subscribers}")
    async with (
        AsyncExitStack() as stack,
        httpx.AsyncClient(
            base_url=service.base_url, headers={"X-API-Key": service.keys["admin"]}, timeout=60
        ) as client,
    ):
        opened = [
            await stack.enter_async_context(socket(service, {"X-API-Key": service.keys["bot"]}))
            for _ in range(subscribers)
        ]
        for subscriber in opened:
            await subscriber.subscribe(BREACHES)
        await asyncio.sleep(2)
        for run in runs[:5]:
            await _submit(client, run)
        delays: list[float] = []
        for run in runs[5:]:
            received = asyncio.gather(*map(_received_at, opened))
            began = time.perf_counter()
            await _submit(client, run)
            delays += [at - began for at in await received]
        return delays[subscribers:]  # the first is warming up


async def _submit(client: httpx.AsyncClient, run: object) -> None:
    body = {"query": SUBMIT, "variables": {"runs": [run]}}
    answer = await client.post("/graphql", json=body)
    assert "errors" not in answer.json(), answer.text


async def _received_at(subscriber: Socket) -> float:
    raw = await subscriber.connection.recv()
    at = time.perf_counter()
    assert json.loads(raw)["type"] == "next", raw
    return at
