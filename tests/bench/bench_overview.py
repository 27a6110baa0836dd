"""The overview with 500,000 runs stored. Each line is `name value reference`.

`overview_growth`: the page of one year for a probe with ten years of runs, over the same for one
with a year, medians taken by turns; the reference is the latter. `overview_visit` and
`overview_data`: bytes on the wire of a first visit (page, style, scripts) and of the chart's data,
over what they may be. `overview_revisit`: the unchanged page asked for again, which is a 304, over
the whole one.
"""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import httpx
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.store.database import Store, connect, prepare

from tests.bench.bench_history import runs_of
from tests.graph.rules.builders import a_plan
from tests.lab.mongo import Mongod
from tests.lab.service import running_service

REPETITIONS = 15
A_YEAR, TEN_YEARS = timedelta(days=365), timedelta(days=3650)
EVERY = A_YEAR / 45_000
"""Eleven minutes: 450,000 runs in ten years beside 45,000 in one."""
VISIT_BYTES, DATA_BYTES = 150_000, 40_000
PLAN = {
    "_id": "*/1970-01-01T00:00:00.000Z",
    "probe": None,
    "provider": "Contoso Fibre",
    "download_mbps": 1000.0,
    "upload_mbps": 100.0,
    "time_zone": "Europe/Berlin",
    "since": datetime(1970, 1, 1, tzinfo=UTC),
}


async def bench_overview(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    await _fill(mongod, database_name)
    with (
        running_service(mongod, database_name, tmp_path, with_web=True) as service,
        httpx.Client(base_url=service.base_url, timeout=120) as client,
    ):
        print()
        _growth(client)
        _bytes(client)


def _growth(client: httpx.Client) -> None:
    times: dict[str, list[float]] = {"young": [], "old": [], "again": []}
    for _ in range(REPETITIONS):
        for probe in ("young", "old"):
            taken, page = _asked(client, probe)
            assert page.status_code == 200
            assert f'value="{probe}"' in page.text
            times[probe].append(taken)
        times["again"].append(_asked_again(client, page))
    middle = {name: median(taken) for name, taken in times.items()}
    print(f"overview_growth {middle['old'] / middle['young']:.2f} {middle['young'] * 1000:.0f}ms")
    print(f"overview_revisit {middle['again'] / middle['old']:.3f} {middle['old'] * 1000:.0f}ms")


def _asked_again(client: httpx.Client, page: httpx.Response) -> float:
    """With the tag of the page that came just now. Seldom a page's time passes in between."""
    for _ in range(3):
        taken, answer = _asked(client, "old", {"If-None-Match": page.headers["etag"]})
        if answer.status_code == 304:
            return taken
        page = answer
    raise AssertionError("an unchanged page was sent again, three times")


def _year_of(probe: str) -> dict[str, str]:
    return {"probe": probe, "range": "1y"}


def _asked(
    client: httpx.Client, probe: str, headers: dict[str, str] | None = None
) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    answer = client.get("/", params=_year_of(probe), headers=headers or {})
    return time.perf_counter() - began, answer


def _bytes(client: httpx.Client) -> None:
    path = "/?" + urlencode(_year_of("old"))
    page = client.get(path).text
    assets = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page))
    folder = next(asset for asset in assets if asset.endswith("page.js")).rpartition("/")[0]
    assets |= {f"{folder}/{name}.js" for name in ("chart", "copy", "live")}
    visit = sum(_on_the_wire(client, asset) for asset in (path, *assets))
    facts = re.search(r'data-facts="([^"]*)"', page)
    assert facts is not None
    question = json.loads(unescape(facts[1]))["question"]
    data = _on_the_wire(client, "/api/q/history?" + urlencode(question))
    print(f"overview_visit {visit / VISIT_BYTES:.2f} {VISIT_BYTES}B")
    print(f"overview_data {data / DATA_BYTES:.2f} {DATA_BYTES}B")


def _on_the_wire(client: httpx.Client, path: str) -> int:
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.status_code == 200, path
        return sum(len(piece) for piece in answer.iter_raw())


async def _fill(mongod: Mongod, database_name: str) -> None:
    """Straight into the store, with the rollups that the service itself makes."""
    store = connect(mongod.uri, database_name)
    try:
        await prepare(store)
        await store["plans"].insert_one(PLAN)
        for number, (probe, past) in enumerate([("young", A_YEAR), ("old", TEN_YEARS)]):
            await _fill_probe(store, probe, past, number)
    finally:
        await store.close()


async def _fill_probe(store: Store, probe: str, past: timedelta, number: int) -> None:
    now = datetime.now(UTC)
    rows = runs_of(probe, past, EVERY, number, until=now)
    for start in range(0, len(rows), 5000):
        await store["runs"].insert_many(rows[start : start + 5000], ordered=False)
    newest = max(rows, key=lambda row: row["started_at"])
    document = {
        "_id": probe,
        "seq": len(rows),
        "run_count": len(rows),
        "first_run_at": min(row["started_at"] for row in rows),
        "last_seen_at": now,
        "judged_by": [0, 0],
        "tails": [],
        "newest": {"at": newest["started_at"], "id": newest["_id"]},
    }
    await store["probes"].insert_one(document)
    began = time.perf_counter()
    plans = [a_plan(1000, 100, time_zone="Europe/Berlin")]
    await Rollups(store.database, probe, plans, {Metric.DOWNLOAD: DEFAULT_RULE}).refresh()
    taken = time.perf_counter() - began
    print(f"\n{probe}: {len(rows)} runs rolled up in {taken:.0f} s", end="", flush=True)
