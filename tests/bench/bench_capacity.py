"""What one run costs: the figures of docs/scaling.md, and what fleets of probes need by them.

Processor time is that of each process (so that the machine's other work does not count), through
the gateway and with a key, one submission a run, 400 probes by turns: 16 at once, which graph takes
in together, and one by one, which costs more and is what the guide reckons with. Bytes are those of
the files: a year of hourly runs of two probes, delivered ten days of each at a time, after a
checkpoint, indexes included. Each line is `name value unit`; the last are rows of the guide.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from pymongo.database import Database

from tests.bench.capacity import FLEETS, Figures, figure_rows, need, rows
from tests.lab.mongo import Mongod, fresh_database, running_mongod
from tests.lab.nginx import Gateway, running_gateway
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN, Socket, socket

CONNECTIONS = 16
PROBES = 400
ROUNDS = 4
"""The first makes the probes' documents and is left out."""
YEARLY = ("attic", "barn")
SUBSCRIBERS, EVENTS = 300, 8
PAGES = 10
MANY_PROBES = 1000
TOOLS = ("ookla", "fast", "librespeed", "ndt7")
BREACHES = "subscription { breaches { cursor kind breach { id probe status count medianMbps } } }"
HISTORY = """
query($probe: String!, $since: DateTime!, $until: DateTime!) {
  history(probe: $probe, since: $since, until: $until) { n median }
}
"""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """With an oplog that keeps all of this."""
    with running_mongod(tmp_path_factory.mktemp("mongod"), oplog_mb=2048) as server:
        yield server


def bench_capacity(mongod: Mongod, tmp_path: Path) -> None:
    print()
    for count in (1, 4):
        _submissions(mongod, tmp_path, count, CONNECTIONS)
    costs = _submissions(mongod, tmp_path, 4, 1)
    disks = {count: _a_year(mongod, tmp_path, count) for count in (1, 4)}
    with fresh_database(mongod) as name:
        asyncio.run(_subscribers(mongod, name, tmp_path / "told"))
    figures = Figures(**costs, **disks[4])
    print(f"probes_per_core {figures.probes_per_core} of graph, one run an hour, half of it used")
    print("\n".join(figure_rows(figures)))
    print("\n".join(rows(need(probes, figures) for probes in FLEETS)))


def _submissions(mongod: Mongod, folder: Path, tools: int, connections: int) -> dict[str, float]:
    """Processor time and oplog of a submission of one run, through the gateway."""
    what = f"{tools}_tools_{connections}_at_once"
    with (
        fresh_database(mongod) as name,
        running_service(
            mongod, name, folder / f"graph_{what}", SPEEDTRAP_GRAPH_CALLERS="gateway"
        ) as service,
        running_gateway(
            folder / f"gateway_{what}",
            service.base_url,
            service.base_url,
            folder / "speed",
            {service.keys["admin"]: "operator:admin"},
        ) as gateway,
        httpx.Client(headers={"X-API-Key": service.keys["admin"]}, timeout=60) as client,
    ):
        url = f"{gateway.url}/graphql"
        client.post(url, json={"query": SET_PLAN, "variables": {"plan": PLAN}}).raise_for_status()
        draw = random.Random(tools)
        before = _memory(service)
        asyncio.run(_a_round(gateway, service, draw, tools, 0, connections))
        per_probe = (_memory(service) - before) / PROBES
        oplog = _oplog_bytes(mongod)
        spent = [_cpu_s(process) for process in (service.process, mongod.process, gateway.process)]
        began = time.perf_counter()
        for number in range(1, ROUNDS):
            asyncio.run(_a_round(gateway, service, draw, tools, number, connections))
        taken = time.perf_counter() - began
        count = PROBES * (ROUNDS - 1)
        after = [_cpu_s(process) for process in (service.process, mongod.process, gateway.process)]
        costs = [1000 * (end - start) / count for start, end in zip(spent, after, strict=True)]
        oplog_each = (_oplog_bytes(mongod) - oplog) / count
    print(f"submissions_{what} {count / taken:.0f} /s, all on this machine's cores")
    for part, cost in zip(("graph", "mongod", "gateway"), costs, strict=True):
        print(f"{part}_cpu_{what} {cost:.2f} ms/run, so {1000 / cost:.0f} runs/s a core")
    print(f"oplog_{what} {oplog_each:.0f} B/run")
    print(f"graph_memory_{what} {per_probe:.0f} B/probe, {before / 1e6:.0f} MB before the first")
    return {
        "graph_ms_per_run": costs[0],
        "mongod_ms_per_run": costs[1],
        "gateway_ms_per_run": costs[2],
        "oplog_bytes_per_run": oplog_each,
        "graph_bytes_per_probe": per_probe,
    }


async def _a_round(
    gateway: Gateway,
    service: Service,
    draw: random.Random,
    tools: int,
    number: int,
    connections: int,
) -> None:
    """A run of each probe."""
    at = datetime.now(UTC) - timedelta(hours=ROUNDS - number)
    left = [a_whole_run(draw, f"line-{place:05}", at, tools) for place in range(PROBES)]

    async def deliver(client: httpx.AsyncClient) -> None:
        while left:
            await _submit(client, [left.pop()])

    async with httpx.AsyncClient(
        base_url=gateway.url, headers={"X-API-Key": service.keys["admin"]}, timeout=60
    ) as client:
        await asyncio.gather(*(deliver(client) for _ in range(connections)))


async def _submit(client: httpx.AsyncClient, runs: Sequence[Row]) -> None:
    body = {"query": SUBMIT, "variables": {"runs": list(runs)}}
    answer = (await client.post("/graphql", json=body)).json()
    assert len(answer["data"]["submitRuns"]["accepted"]) == len(runs), answer


def _a_year(mongod: Mongod, folder: Path, tools: int) -> dict[str, float]:
    """Bytes of a year's runs and of their rolled-up history; with one tool, of pages too."""
    with (
        fresh_database(mongod) as name,
        running_service(mongod, name, folder / f"year{tools}", with_web=True) as service,
    ):
        service.query(SET_PLAN, {"plan": PLAN})
        count = asyncio.run(_deliver_a_year(service, tools))
        until = datetime.now(UTC)
        span = {"since": (until - timedelta(days=365)).isoformat(), "until": until.isoformat()}
        began, spent = time.perf_counter(), _cpu_s(service.process)
        for probe in YEARLY:
            service.query(HISTORY, {"probe": probe, **span})
        rolling = (_cpu_s(service.process) - spent) / count
        print(f"rolled_up_{tools} {1000 * rolling:.2f} ms/run {time.perf_counter() - began:.0f} s")
        with mongod.client() as client:
            client.admin.command("fsync")
            runs, run_indexes = _on_disk(client[name], "runs")
            rolled, rolled_indexes = _on_disk(client[name], "rollups")
        print(f"run_{tools} {runs / count:.0f} B + {run_indexes / count:.0f} B of indexes")
        print(f"rollups_{tools} {(rolled + rolled_indexes) / len(YEARLY):.0f} B/probe-year")
        if tools == 1:
            _pages("page", service, mongod)
            with mongod.client() as client:
                _many_probes(client[name])
            _pages(f"page_of_{MANY_PROBES}_probes", service, mongod)
    return {
        "bytes_per_run": (runs + run_indexes) / count,
        "rollup_bytes_per_probe_year": (rolled + rolled_indexes) / len(YEARLY),
    }


async def _deliver_a_year(service: Service, tools: int) -> int:
    """By turns, as they come, so that the indexes grow as they do in life."""
    draw, now, count = random.Random(tools), datetime.now(UTC), 0
    headers = {"X-API-Key": service.keys["admin"]}
    async with httpx.AsyncClient(base_url=service.base_url, headers=headers, timeout=60) as client:
        for first_hour in range(365 * 24, 24, -240):
            hours = range(first_hour, max(first_hour - 240, 24), -1)
            batches = [
                [a_whole_run(draw, probe, now - timedelta(hours=h), tools) for h in hours]
                for probe in YEARLY
            ]
            await asyncio.gather(*(_submit(client, batch) for batch in batches))
            count += len(YEARLY) * len(hours)
    return count


def _many_probes(database: Database[Row]) -> None:
    """With the same last run each."""
    probe = database["probes"].find_one({"_id": YEARLY[0]}) or {}
    run = database["runs"].find_one({"_id": probe["newest"]["id"]}) or {}
    names = [f"line-{place:05}" for place in range(MANY_PROBES)]
    database["probes"].insert_many([probe | {"_id": name} for name in names])
    database["runs"].insert_many([run | {"_id": uuid4(), "probe": name} for name in names])


def _pages(name: str, service: Service, mongod: Mongod) -> None:
    """The overview of a year, whole and unchanged."""
    with httpx.Client(base_url=service.base_url, timeout=60) as client:
        asked = {"probe": YEARLY[0], "range": "1y"}
        tag = client.get("/", params=asked).headers["etag"]
        for which, headers in ((name, {}), (f"{name}_again", {"If-None-Match": tag})):
            spent = _cpu_s(service.process), _cpu_s(mongod.process)
            for _ in range(PAGES):
                assert client.get("/", params=asked, headers=headers).status_code in {200, 304}
            mine = 1000 * (_cpu_s(service.process) - spent[0]) / PAGES
            its = 1000 * (_cpu_s(mongod.process) - spent[1]) / PAGES
            print(f"{which} {mine:.1f} ms of web and graph + {its:.1f} ms of mongod")


async def _subscribers(mongod: Mongod, name: str, folder: Path) -> None:
    """Memory and processor time of one copy with many who are told of breaches."""
    with running_service(mongod, name, folder) as service:
        await asyncio.to_thread(service.query, SET_PLAN, {"plan": PLAN})
        headers = {"X-API-Key": service.keys["bot"]}
        async with (
            AsyncExitStack() as stack,
            httpx.AsyncClient(
                base_url=service.base_url, headers={"X-API-Key": service.keys["admin"]}
            ) as client,
        ):
            runs = slow_runs(6 + EVENTS)
            for run in runs[:6]:
                await _submit(client, [run])
            before = _memory(service)
            opened = [
                await stack.enter_async_context(socket(service, headers))
                for _ in range(SUBSCRIBERS)
            ]
            for subscriber in opened:
                await subscriber.subscribe(BREACHES)
            await asyncio.sleep(2)
            memory, spent = _memory(service) - before, _cpu_s(service.process)
            delays: list[float] = []
            for run in runs[6:]:
                began = time.perf_counter()
                told = asyncio.gather(*map(_told_at, opened))
                await _submit(client, [run])
                delays += [at - began for at in await told]
            cpu_ms = 1000 * (_cpu_s(service.process) - spent) / len(delays)
    last = sorted(delays)[int(len(delays) * 0.99)]
    print(f"subscriber {memory / SUBSCRIBERS / 1000:.0f} kB, {cpu_ms:.2f} ms an event")
    print(f"told_of_{SUBSCRIBERS} p50 {median(delays) * 1000:.0f} ms, p99 {last * 1000:.0f} ms")


async def _told_at(subscriber: Socket) -> float:
    assert (await subscriber.next_data())["breaches"]
    return time.perf_counter()


def a_whole_run(draw: random.Random, probe: str, at: datetime, tools: int) -> Row:
    """As large as a real one: every figure, the server, the link to the result."""
    started = at + timedelta(seconds=draw.uniform(0, 600))
    return {
        "id": str(UUID(int=draw.getrandbits(128), version=4)),
        "probe": probe,
        "startedAt": started.isoformat(),
        "finishedAt": (started + timedelta(seconds=32 * tools)).isoformat(),
        "conditions": {
            "lineUp": True,
            "medium": "WIRED",
            "crossTrafficMbps": round(draw.uniform(0, 3), 3),
            "cpuPercent": round(draw.uniform(1, 40), 1),
            "publicIpHash": "0f" * 16,
            "platform": "Linux-6.6.51-aarch64",
            "probeVersion": "0.1.0",
            "linkMbps": 1000.0,
            "clockOffsetMs": round(draw.gauss(0, 8), 2),
        },
        "measurements": [
            _a_measurement(draw, tool, started + timedelta(seconds=32 * place))
            for place, tool in enumerate(TOOLS[:tools])
        ],
    }


def _a_measurement(draw: random.Random, tool: str, at: datetime) -> Row:
    down, up = draw.gauss(900, 60), draw.gauss(95, 2)
    host = f"speed{draw.randrange(30)}.{draw.choice(['ams', 'fra', 'lhr', 'cdg'])}.example.net"
    return {
        "tool": tool,
        "toolVersion": "1.2.0",
        "startedAt": at.isoformat(),
        "durationS": round(draw.uniform(20, 30), 3),
        "downloadMbps": down,
        "uploadMbps": up,
        "latencyMs": round(draw.gauss(12, 1), 3),
        "jitterMs": round(abs(draw.gauss(1, 1)), 3),
        "packetLossRatio": 0.0,
        "loadedLatencyDownMs": round(draw.gauss(40, 8), 3),
        "loadedLatencyUpMs": round(draw.gauss(60, 9), 3),
        "bytesReceived": int(down * 1_250_000),
        "bytesSent": int(up * 1_250_000),
        "server": {
            "id": str(draw.randrange(60_000)),
            "name": "Contoso Fibre",
            "host": host,
            "location": "Amsterdam, Netherlands",
        },
        "resultUrl": f"https://results.example/{UUID(int=draw.getrandbits(128), version=4)}",
    }


def _on_disk(database: Database[Row], collection: str) -> tuple[float, float]:
    """Bytes of its file and of its indexes' files."""
    stats = database.command("collStats", collection)
    return stats["storageSize"], stats["totalIndexSize"]


def _oplog_bytes(mongod: Mongod) -> float:
    with mongod.client() as client:
        return float(client.local.command("collStats", "oplog.rs")["size"])


def _cpu_s(process: Any) -> float:
    """Of the process and its children, user and system."""
    parent = psutil.Process(process.pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _memory(service: Service) -> float:
    assert service.process is not None
    return float(psutil.Process(service.process.pid).memory_info().rss)
