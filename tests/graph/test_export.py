"""Everything in one file, however much it is, and for those who may read it."""

import csv
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from speedtrap_graph.services.read.runs_export import CSV_COLUMNS, Format, Wanted, export
from speedtrap_graph.store.database import Store

from tests.graph.rules.builders import a_failure, a_plan, a_reading
from tests.graph.services.stored import Row, a_stored_run
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def fetch(service: Service, path: str, role: str = "viewer", **query: str) -> httpx.Response:
    return httpx.get(
        f"{service.base_url}/export/{path}",
        headers={"X-API-Key": service.keys[role]},
        params=query,
        timeout=60,
    )


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_runs_come_out_as_they_went_in_oldest_first(service: Service) -> None:
    runs = slow_runs(3)
    service.query(SUBMIT, {"runs": runs[::-1]})
    answer = fetch(service, "runs.ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.ndjson"'
    found = lines(answer)
    assert [run["id"] for run in found] == [run["id"] for run in runs]
    assert found[0]["outcome"] == "MEASURED"
    assert found[0]["best"]["DOWNLOAD"] == 120
    given, back = runs[0]["measurements"][0], found[0]["measurements"][0]
    assert {name: back[name] for name in ("tool", "downloadMbps", "latencyMs", "durationS")} == {
        name: given[name] for name in ("tool", "downloadMbps", "latencyMs", "durationS")
    }


def test_a_table_has_a_row_for_each_measurement_and_no_formulas(service: Service) -> None:
    run = a_run(500)
    run["measurements"][0]["server"] = {"name": "=HYPERLINK(1)"}
    service.query(SUBMIT, {"runs": [run, a_run(None, hours_ago=3)]})
    answer = fetch(service, "runs.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    failed, measured = csv.DictReader(io.StringIO(answer.text))
    assert tuple(failed) == CSV_COLUMNS
    assert (failed["download_mbps"], failed["failure"]) == ("", "TOOL_FAILED: exit code 1")
    assert (measured["download_mbps"], measured["tool"]) == ("500.0", "ookla")
    assert (measured["run_id"], measured["server"]) == (run["id"], "'=HYPERLINK(1)")


def test_a_range_and_a_probe_can_be_chosen(service: Service) -> None:
    old, new, other = a_run(hours_ago=9), a_run(hours_ago=1), a_run(probe="attic", hours_ago=1)
    service.query(SUBMIT, {"runs": [old, new, other]})
    since = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    found = lines(fetch(service, "runs.ndjson", probe="laptop", since=since))
    assert [run["id"] for run in found] == [new["id"]]
    found = lines(fetch(service, "runs.ndjson", until=since))
    assert [run["id"] for run in found] == [old["id"]]


def test_a_probe_gets_its_own_runs_and_a_stranger_none(service: Service) -> None:
    service.query(SUBMIT, {"runs": [a_run(), a_run(probe="attic")]})
    assert {run["probe"] for run in lines(fetch(service, "runs.ndjson", "probe"))} == {"laptop"}
    refused = fetch(service, "runs.csv", "probe", probe="attic")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    stranger = httpx.get(f"{service.base_url}/export/runs.csv")
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "2026-01-01"}, "since"),
        ({"until": "tomorrow"}, "until"),
        ({"probes": "laptop"}, "probes"),
        ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
    ],
)
def test_what_cannot_be_meant_is_400_and_named(
    service: Service, query: dict[str, str], field: str
) -> None:
    answer = fetch(service, "runs.csv", **query)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["field"]) == ("BAD_INPUT", field)


def stored(count: int) -> list[Row]:
    """Four runs at the same moment each time, so that pages end among equals."""
    plan = a_plan()
    readings = (a_reading("ookla", 500.0, latency=12.0), a_failure("fast"))
    return [
        a_stored_run(*readings, at=SINCE + timedelta(hours=number // 4), number=number, plan=plan)
        for number in range(count)
    ]


@pytest.mark.parametrize("probe", [None, "laptop"])
async def test_no_run_is_left_out_or_repeated_between_pages(
    store: Store, probe: str | None
) -> None:
    await store["runs"].insert_many(stored(1502))
    wanted = Wanted(probe, SINCE, SINCE + timedelta(hours=400))
    text = b"".join([chunk async for chunk in export(store, wanted, Format.NDJSON)])
    ids = [json.loads(line)["id"] for line in text.splitlines()]
    expected = await store["runs"].find({}, {"_id": 1}).sort("_id").to_list()
    assert ids == [str(row["_id"]) for row in expected]


@pytest.mark.parametrize("form", Format)
async def test_memory_stays_flat_however_many_runs_there_are(store: Store, form: Format) -> None:
    await store["runs"].insert_many(stored(6000))
    few = await peak_bytes(export(store, Wanted(until=SINCE + timedelta(hours=250)), form))
    all_of_them = await peak_bytes(export(store, Wanted(), form))
    assert all_of_them < 1.5 * few


async def peak_bytes(chunks: AsyncIterator[bytes]) -> int:
    tracemalloc.start()
    try:
        async for _ in chunks:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
