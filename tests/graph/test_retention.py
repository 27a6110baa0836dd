"""How long runs are kept: an operator's word, and what the background makes of it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from speedtrap_graph.clock import system_clock
from speedtrap_graph.services.upkeep.thin import Thinning
from speedtrap_graph.store.database import Store

from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service

GET = "{ retention { days at by sweptAt removedRuns } }"
SET = "mutation($days: Int) { setRetention(days: $days) { days by } }"


def test_every_run_is_kept_until_somebody_says_otherwise(service: Service) -> None:
    assert service.query(GET)["retention"] | {"sweptAt": None} == {
        "days": None, "at": None, "by": None, "sweptAt": None, "removedRuns": 0
    }  # fmt: skip
    assert service.query(SET, {"days": 90})["setRetention"] == {"days": 90, "by": "operator"}
    assert service.query(GET)["retention"]["days"] == 90
    assert service.query(SET, {"days": None})["setRetention"]["days"] is None
    found = service.query(GET)["retention"]
    assert (found["days"], found["by"]) == (None, "operator")


@pytest.mark.parametrize("days", [89, 0, -5, 36_501])
def test_a_bad_number_of_days_is_refused_with_what_is_allowed(service: Service, days: int) -> None:
    error = service.post(SET, {"days": days})["errors"][0]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_INPUT", "days")
    assert error["extensions"]["allowed"] == ["90 to 36500", "null"]
    assert f"not {days}" in error["message"]
    assert service.query(GET)["retention"]["days"] is None


FIGURES = """
query($since: DateTime!, $until: DateTime!) {
  probe(name: "laptop") { rawSince runCount firstRunAt }
  history(probe: "laptop", since: $since, until: $until, buckets: 1) { n exact }
  serviceReport(probe: "laptop", since: $since, until: $until) { n medianMbps exact }
}
"""
DELETE_RUN = 'mutation($id: UUID!) { deleteRun(id: $id, reason: "wrong") { id } }'


async def test_over_the_wire_everything_says_from_when_on_there_are_runs(
    service: Service, store: Store
) -> None:
    now = datetime.now(UTC)
    runs = [a_run(500.0 + day, hours_ago=24 * day + 1) for day in (200, 199, 120, 5, 0)]
    service.query(SUBMIT, {"runs": runs})
    span = {"since": (now - timedelta(days=300)).isoformat(), "until": now.isoformat()}
    before = service.query(FIGURES, span)
    assert (before["history"]["exact"], before["probe"]["rawSince"]) == (True, None)
    assert "speedtrap-runs-since" not in exported(service).headers

    assert await Thinning(store, system_clock).move_on("laptop", now - timedelta(days=90))
    after = service.query(FIGURES, span)
    boundary = datetime.fromisoformat(after["probe"]["rawSince"])
    assert now - timedelta(days=91) <= boundary <= now - timedelta(days=90)
    assert (after["history"]["exact"], after["serviceReport"]["exact"]) == (False, False)
    assert after["history"]["n"] == before["history"]["n"]
    assert after["serviceReport"]["medianMbps"] == before["serviceReport"]["medianMbps"]
    assert after["probe"] | {"rawSince": None} == before["probe"]
    header = exported(service).headers["speedtrap-runs-since"]
    assert datetime.fromisoformat(header) == boundary
    error = service.post(DELETE_RUN, {"id": runs[0]["id"]})["errors"][0]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert "is no longer kept" in error["message"]
    late = a_run(700.0, hours_ago=24 * 150)
    told = service.query(SUBMIT, {"runs": [runs[0], late]}, role="probe")["submitRuns"]
    assert (told["duplicates"], told["accepted"]) == ([runs[0]["id"]], [])
    (refused,) = told["rejected"]
    assert (refused["id"], refused["index"], refused["field"]) == (late["id"], 1, "startedAt")


def exported(service: Service) -> httpx.Response:
    headers = {"X-API-Key": service.keys["viewer"]}
    url = f"{service.base_url}/export/runs.ndjson?probe=laptop"
    return httpx.get(url, headers=headers, timeout=60)


DELETE = """
mutation($name: String!, $reason: String!) {
  deleteProbe(name: $name, reason: $reason) { name by reason doneAt runs breaches documents }
}
"""
TRACES = "{ deletedProbes { name by runs } probes { name } }"


def test_an_admin_deletes_a_probe_and_the_trace_stays(service: Service) -> None:
    service.query(SUBMIT, {"runs": [a_run(hours_ago=hour) for hour in range(1, 4)]})
    service.query(SUBMIT, {"runs": [a_run(probe="attic")]})
    gone = service.query(DELETE, {"name": "laptop", "reason": "moved"})["deleteProbe"]
    assert (gone["by"], gone["reason"], gone["runs"], gone["breaches"]) == (
        "operator", "moved", 3, 0
    )  # fmt: skip
    assert gone["doneAt"] is not None
    assert gone["documents"] > 3
    assert service.query(TRACES) == {
        "deletedProbes": [{"name": "laptop", "by": "operator", "runs": 3}],
        "probes": [{"name": "attic"}],
    }
    error = service.post(DELETE, {"name": "laptop", "reason": "again"})["errors"][0]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("NOT_FOUND", "name")
