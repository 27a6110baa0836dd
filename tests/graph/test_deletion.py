"""A deleted run is gone for every judgement, leaves a tombstone, and does not come back."""

from typing import Any
from uuid import uuid4

import pytest

from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN

DELETE = """
mutation($id: UUID!, $reason: String!) {
  deleteRun(id: $id, reason: $reason) { id probe startedAt deletedAt by reason }
}
"""
TOMBSTONE = "query($id: UUID!) { deletedRun(id: $id) { by reason } run(id: $id) { id } }"
STATE = """
{
  probe(name: "laptop") { runCount firstRunAt streak openBreach { id } lastRun { id } }
  breaches { nodes { id status count } }
  runs { nodes { id } }
}
"""


def submit(service: Service, runs: list[dict[str, Any]]) -> dict[str, Any]:
    service.query(SET_PLAN, {"plan": PLAN})
    result: dict[str, Any] = service.query(SUBMIT, {"runs": runs})["submitRuns"]
    return result


def delete(service: Service, run: dict[str, Any], reason: str = "a neighbour's cable") -> None:
    service.query(DELETE, {"id": run["id"], "reason": reason})


def test_a_deleted_run_leaves_a_trace_and_nothing_else(service: Service) -> None:
    old, new = a_run(900, hours_ago=5), a_run(800, hours_ago=1)
    submit(service, [old, new])
    buried = service.query(DELETE, {"id": old["id"], "reason": " Wrong line "})["deleteRun"]
    assert (buried["by"], buried["reason"], buried["probe"]) == ("operator", "Wrong line", "laptop")
    assert service.query(TOMBSTONE, {"id": old["id"]}) == {
        "deletedRun": {"by": "operator", "reason": "Wrong line"},
        "run": None,
    }
    state = service.query(STATE)
    assert [node["id"] for node in state["runs"]["nodes"]] == [new["id"]]
    assert state["probe"]["runCount"] == 1
    assert state["probe"]["firstRunAt"][:19] == new["startedAt"][:19]
    (listed,) = service.query("{ deletedRuns { id } }", role="viewer")["deletedRuns"]
    assert listed["id"] == old["id"]


def test_a_deleted_run_does_not_come_back(service: Service) -> None:
    run = a_run()
    submit(service, [run])
    delete(service, run)
    again = service.query(SUBMIT, {"runs": [run]}, role="probe")["submitRuns"]
    assert (again["accepted"], again["duplicates"]) == ([], [run["id"]])
    stolen = service.query(SUBMIT, {"runs": [{**run, "probe": "attic"}]})["submitRuns"]
    assert stolen["rejected"][0]["field"] == "id"
    assert service.query(STATE)["runs"]["nodes"] == []


def test_deleting_one_of_six_slow_runs_retracts_the_breach(service: Service) -> None:
    runs = slow_runs(6)
    submit(service, runs)
    assert service.query(STATE)["breaches"]["nodes"][0]["status"] == "OPEN"
    delete(service, runs[0])
    state = service.query(STATE)
    assert [node["status"] for node in state["breaches"]["nodes"]] == ["RETRACTED"]
    assert (state["probe"]["streak"], state["probe"]["openBreach"]) == (5, None)


def test_deleting_the_first_run_of_a_longer_breach_keeps_the_breach(service: Service) -> None:
    runs = slow_runs(8)
    submit(service, runs)
    (before,) = service.query(STATE)["breaches"]["nodes"]
    delete(service, runs[0])
    (after,) = service.query(STATE)["breaches"]["nodes"]
    assert after == {"id": before["id"], "status": "OPEN", "count": 7}


def test_deleting_the_good_run_between_joins_what_it_parted(service: Service) -> None:
    early, late = slow_runs(3), slow_runs(3)
    for place, run in enumerate([*early, *late]):
        run |= {"startedAt": a_run(hours_ago=12 - place)["startedAt"]}
    good = a_run(900, hours_ago=9.5)
    submit(service, [*early, good, *late])
    assert service.query(STATE)["breaches"]["nodes"] == []
    delete(service, good)
    assert service.query(STATE)["breaches"]["nodes"][0]["status"] == "OPEN"


def test_the_last_run_may_go_as_well(service: Service) -> None:
    run = a_run()
    submit(service, [run])
    delete(service, run)
    probe = service.query(STATE)["probe"]
    assert (probe["runCount"], probe["firstRunAt"], probe["lastRun"]) == (0, None, None)


def test_deleting_twice_keeps_the_first_reason(service: Service) -> None:
    run = a_run()
    submit(service, [run])
    delete(service, run, "first")
    again = service.query(DELETE, {"id": run["id"], "reason": "second"})["deleteRun"]
    assert again["reason"] == "first"
    assert service.query(STATE)["probe"]["runCount"] == 0


@pytest.mark.parametrize("role", ["probe", "viewer", "bot"])
def test_only_an_admin_deletes(service: Service, role: str) -> None:
    run = a_run()
    submit(service, [run])
    answer = service.post(DELETE, {"id": run["id"], "reason": "x"}, role)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert len(service.query(STATE)["runs"]["nodes"]) == 1


@pytest.mark.parametrize(
    ("variables", "code", "field"),
    [
        ({"id": str(uuid4()), "reason": "x"}, "NOT_FOUND", "id"),
        ({"id": str(uuid4()), "reason": "  "}, "BAD_INPUT", "reason"),
        ({"id": str(uuid4()), "reason": "x" * 1001}, "BAD_INPUT", "reason"),
    ],
)
def test_a_bad_deletion_is_refused(
    service: Service, variables: dict[str, str], code: str, field: str
) -> None:
    extensions = service.post(DELETE, variables)["errors"][0]["extensions"]
    assert (extensions["code"], extensions["field"]) == (code, field)
