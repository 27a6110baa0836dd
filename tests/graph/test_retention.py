"""How long runs are kept: an operator's word, and what the background makes of it."""

import pytest

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
