"""The road of a run, through a real service: submitted, judged, a breach at the sixth."""

from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN

BREACHES = "{ breaches { nodes { id reference status count stale openedAt resolvedAt } } }"


def test_sixth_slow_run_opens_a_breach_and_the_fifth_does_not(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    runs = slow_runs(6)

    service.query(SUBMIT, {"runs": runs[:5]}, role="probe")
    assert service.query(BREACHES)["breaches"]["nodes"] == []

    service.query(SUBMIT, {"runs": runs[5:]}, role="probe")
    (breach,) = service.query(BREACHES)["breaches"]["nodes"]
    assert breach["status"] == "OPEN"
    assert breach["count"] == 6
    assert breach["stale"] is False


def test_a_good_run_resolves_the_breach(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    service.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")
    service.query(SUBMIT, {"runs": [a_run(download_mbps=950, hours_ago=1)]}, role="probe")

    (breach,) = service.query(BREACHES)["breaches"]["nodes"]
    assert breach["status"] == "RESOLVED"
    assert breach["resolvedAt"] is not None
