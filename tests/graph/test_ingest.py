"""A run is stored once, whoever submits it, however often, and through whichever process."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.lab.mongo import Mongod, running_mongod
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN

RUNS = "{ runs(first: 500) { nodes { id probe } } }"


def test_the_same_run_twice_is_a_duplicate(service: Service) -> None:
    run = a_run()
    first = service.query(SUBMIT, {"runs": [run]}, role="probe")["submitRuns"]
    second = service.query(SUBMIT, {"runs": [run, run]}, role="probe")["submitRuns"]
    assert (first["accepted"], first["duplicates"]) == ([run["id"]], [])
    assert (second["accepted"], second["duplicates"]) == ([], [run["id"], run["id"]])
    assert len(service.query(RUNS)["runs"]["nodes"]) == 1


def test_another_probes_id_is_refused_and_nothing_is_overwritten(service: Service) -> None:
    run = a_run()
    service.query(SUBMIT, {"runs": [run]}, role="probe")
    answer = service.query(SUBMIT, {"runs": [{**run, "probe": "attic"}]})["submitRuns"]
    (rejection,) = answer["rejected"]
    assert (rejection["field"], rejection["id"]) == ("id", run["id"])
    assert service.query(RUNS)["runs"]["nodes"] == [{"id": run["id"], "probe": "laptop"}]


def test_a_probes_key_submits_for_its_own_name_only(service: Service) -> None:
    mine, other = a_run(), a_run(probe="attic")
    answer = service.query(SUBMIT, {"runs": [other, mine]}, role="probe")["submitRuns"]
    assert answer["accepted"] == [mine["id"]]
    (rejection,) = answer["rejected"]
    assert (rejection["index"], rejection["field"]) == (0, "probe")


def test_one_bad_run_does_not_sink_its_batch(service: Service) -> None:
    good, bad = a_run(), a_run(-5)
    answer = service.query(SUBMIT, {"runs": [bad, good]}, role="probe")["submitRuns"]
    assert answer["accepted"] == [good["id"]]
    (rejection,) = answer["rejected"]
    assert (rejection["id"], rejection["index"]) == (bad["id"], 0)
    assert rejection["field"] == "measurements[0].downloadMbps"


def test_a_run_comes_back_as_it_went_in(service: Service) -> None:
    run = a_run(940.25)
    run["measurements"][0] |= {"bytesReceived": 2**40, "server": {"id": "1", "host": "x"}}
    service.query(SUBMIT, {"runs": [run]}, role="probe")
    stored = service.query(
        """query($id: UUID!) { run(id: $id) {
             outcome outcomeReason downloadMbps conditions { lineUp medium cpuPercent }
             measurements {
               downloadMbps jitterMs bytesReceived server { id name } failure { kind }
             }
        } }""",
        {"id": run["id"]},
        role="probe",
    )["run"]
    assert stored["outcome"] == "MEASURED"
    assert stored["downloadMbps"] == 940.25
    assert stored["conditions"] == {"lineUp": True, "medium": "WIRED", "cpuPercent": None}
    assert stored["measurements"] == [
        {
            "downloadMbps": 940.25,
            "jitterMs": None,
            "bytesReceived": 2**40,
            "server": {"id": "1", "name": None},
            "failure": None,
        }
    ]


def test_runs_come_in_pages_newest_first_without_gap_or_overlap(service: Service) -> None:
    runs = slow_runs(7)
    service.query(SUBMIT, {"runs": runs}, role="probe")
    seen: list[str] = []
    after = None
    while True:
        page = service.query(
            """query($after: String) { runs(first: 3, after: $after) {
                 nodes { id } pageInfo { hasNextPage endCursor } } }""",
            {"after": after},
        )["runs"]
        seen += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [run["id"] for run in reversed(runs)]


async def test_two_processes_at_once_store_each_run_once_and_open_one_breach(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with (
        running_service(mongod, database_name, tmp_path) as one,
        running_service(mongod, database_name, tmp_path) as other,
    ):
        one.query(SET_PLAN, {"plan": PLAN})
        runs = slow_runs(12)
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(
                *(
                    _submit(client, service, [run])
                    for run in runs
                    for service in (one, other, one, other)
                )
            )
        accepted = [run_id for answer in answers for run_id in answer["accepted"]]
        duplicates = [run_id for answer in answers for run_id in answer["duplicates"]]
        assert sorted(accepted) == sorted(run["id"] for run in runs)
        assert len(duplicates) == 3 * len(runs)
        breaches = one.query("{ breaches { nodes { status count } } }")["breaches"]["nodes"]
        standing = [breach for breach in breaches if breach["status"] != "RETRACTED"]
        assert standing == [{"status": "OPEN", "count": 12}]
        assert one.query('{ probe(name: "laptop") { runCount streak } }')["probe"] == {
            "runCount": 12,
            "streak": 12,
        }


async def test_a_mongod_that_dies_takes_nothing_acknowledged_with_it(tmp_path: Path) -> None:
    with (
        running_mongod(tmp_path / "db") as mongod,
        running_service(mongod, "speedtrap", tmp_path / "service") as service,
    ):
        async with httpx.AsyncClient(timeout=90) as client:
            before = a_run()
            answer = await _submit(client, service, [before])
            assert answer["accepted"] == [before["id"]]

            mongod.kill()
            during = a_run()
            waiting = asyncio.create_task(_submit(client, service, [during]))
            await asyncio.to_thread(mongod.start)
            assert (await waiting)["accepted"] + (await waiting)["duplicates"] == [during["id"]]

            stored = service.query(RUNS)["runs"]["nodes"]
            assert {run["id"] for run in stored} == {before["id"], during["id"]}


async def _submit(
    client: httpx.AsyncClient, service: Service, runs: list[dict[str, Any]]
) -> dict[str, Any]:
    response = await client.post(
        f"{service.base_url}/graphql",
        headers={"X-API-Key": service.keys["probe"]},
        json={"query": SUBMIT, "variables": {"runs": runs}},
    )
    answer = response.json()
    assert "errors" not in answer, answer
    submitted: dict[str, Any] = answer["data"]["submitRuns"]
    return submitted
