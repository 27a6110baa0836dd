"""A key takes its share of processor, disk and log and no more; other keys are served meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from speedtrap_graph.api.authentication import Authentication
from speedtrap_graph.http.callers import Caller, KeyFile, Role
from speedtrap_graph.http.quotas import Quotas, meter_tasks, metered
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import running_service, write_keys

PROBE, OTHER = Caller("laptop", Role.PROBE), Caller("attic", Role.PROBE)


def work(seconds: float) -> None:
    """So much processor time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_a_key_cost_too_much_is_paid_off_before_its_next_request() -> None:
    now = [0.0]
    quotas = Quotas({Role.PROBE: 600}, cpu_s_per_minute={Role.PROBE: 30}, now=lambda: now[0])
    quotas.charge_cpu(PROBE, 30)
    assert quotas.take(PROBE) is None
    quotas.charge_cpu(PROBE, 1)
    assert quotas.take(PROBE) == pytest.approx(2.0)
    assert quotas.take(OTHER) is None
    now[0] = 2.5
    assert quotas.take(PROBE) is None


async def own_steps() -> None:
    work(0.1)
    await asyncio.sleep(0)
    work(0.1)


async def steps_of_tasks() -> None:
    await asyncio.gather(own_steps(), own_steps())


async def steps_that_fail() -> None:
    await own_steps()
    await asyncio.wait_for(asyncio.Event().wait(), timeout=0.01)


@pytest.mark.parametrize(
    ("worker", "cost_s"), [(own_steps, 0.2), (steps_of_tasks, 0.4), (steps_that_fail, 0.2)]
)
async def test_a_key_pays_for_its_own_steps_and_those_of_its_tasks(
    worker: Callable[[], Awaitable[None]], cost_s: float
) -> None:
    meter_tasks(asyncio.get_running_loop())
    charged: list[float] = []
    others = [asyncio.create_task(own_steps()) for _ in range(3)]
    mine = asyncio.create_task(metered(worker(), charged.append))  # type: ignore[arg-type]
    await asyncio.gather(mine, *others, return_exceptions=True)
    assert cost_s <= sum(charged) < cost_s + 0.1


async def test_work_that_is_cancelled_before_its_first_step_says_nothing() -> None:
    meter_tasks(asyncio.get_running_loop())

    async def start_and_cancel() -> None:
        task = asyncio.create_task(own_steps())
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    await metered(start_and_cancel(), lambda _: None)


@asynccontextmanager
async def busy_service(folder: Path, quota_s: float) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """An app that takes 20 ms of processor time a request, behind the real gate."""

    async def busy(_: Request) -> Response:
        work(0.02)
        return PlainTextResponse("done")

    keys = write_keys(folder / "keys")
    quotas = Quotas(
        {Role.PROBE: 60_000, Role.VIEWER: 60_000}, cpu_s_per_minute={Role.PROBE: quota_s}
    )
    app = Starlette(routes=[Route("/", busy)])
    config = uvicorn.Config(
        Authentication(app, KeyFile(folder / "keys"), 1024, quotas),
        port=0,
        log_config=None,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", keys
    finally:
        server.should_exit = True
        await serving


async def test_a_key_at_full_tilt_is_refused_when_its_processor_time_is_used_up(
    tmp_path: Path,
) -> None:
    async with busy_service(tmp_path, quota_s=1.0) as (url, keys), httpx.AsyncClient() as client:
        served = 0
        while True:
            answer = await client.get(url, headers={"X-API-Key": keys["probe"]})
            if answer.status_code == 429:
                break
            served += 1
        # 50 from the bucket, and what is refilled while they are asked.
        assert 45 <= served < 100
        assert int(answer.headers["Retry-After"]) >= 1
        assert "processor time" in answer.text
        assert (await client.get(url, headers={"X-API-Key": keys["viewer"]})).status_code == 200


RUNS_IN_A_BATCH = 50
BATCHES = 40


async def test_a_probe_at_full_tilt_takes_its_share_and_others_are_served(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    """Until its quota refuses: the disk and the log it takes, and the answers to another key."""
    quota = f"probe={BATCHES}"
    with running_service(
        mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_REQUESTS_PER_MINUTE=quota
    ) as service:
        log_bytes = service.log.stat().st_size
        alone = await answer_times(service.base_url, service.keys["viewer"], 60)
        full_tilt = asyncio.create_task(
            submit_until_refused(service.base_url, service.keys["probe"])
        )
        beside: list[float] = []
        while not full_tilt.done():
            beside += await answer_times(service.base_url, service.keys["viewer"], 10)
        taken, sent_bytes = await full_tilt
        with mongod.client() as client:
            stored = client[database_name].command("dbStats")["dataSize"]
        written = service.log.stat().st_size - log_bytes
    # The bucket, and what was refilled while it was emptied.
    assert BATCHES <= taken <= 2 * BATCHES
    assert stored < 4 * sent_bytes
    assert written < 8_000
    assert middle(beside) < 20 * middle(alone) + 0.05


def middle(times_s: list[float]) -> float:
    return sorted(times_s)[len(times_s) // 2]


async def answer_times(url: str, key: str, times: int) -> list[float]:
    found = []
    async with httpx.AsyncClient(headers={"X-API-Key": key}, timeout=60) as client:
        for _ in range(times):
            begun = time.perf_counter()
            answer = await client.post(f"{url}/graphql", json={"query": "{ me { role } }"})
            assert answer.status_code == 200
            found.append(time.perf_counter() - begun)
    return found


async def submit_until_refused(url: str, key: str) -> tuple[int, int]:
    """How many batches were taken, and their size."""
    taken = size = 0
    async with httpx.AsyncClient(headers={"X-API-Key": key}, timeout=60) as client:
        while True:
            runs = [a_run() for _ in range(RUNS_IN_A_BATCH)]
            answer = await client.post(
                f"{url}/graphql", json={"query": SUBMIT, "variables": {"runs": runs}}
            )
            if answer.status_code == 429:
                return taken, size
            assert "errors" not in answer.json()
            taken += 1
            size += int(answer.request.headers["Content-Length"])
