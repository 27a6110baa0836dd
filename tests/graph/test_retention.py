"""How long runs are kept: an operator's word, and what the background makes of it."""

import pytest

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
