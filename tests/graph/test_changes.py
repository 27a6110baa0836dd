"""The mark of what a page shows: another one after each change, the same without one."""

from datetime import UTC, datetime, timedelta

from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN

SILENCE = (
    'mutation($until: DateTime!) { silence(probe: "laptop", until: $until, reason: "moving")'
    " { by } }"
)


def mark(service: Service) -> str:
    return str(service.query("{ changes }", role="viewer")["changes"])


def test_each_change_makes_another_mark(service: Service) -> None:
    marks = [mark(service)]
    service.query(SET_PLAN, {"plan": PLAN})
    marks.append(mark(service))
    service.query(SUBMIT, {"runs": [a_run(hours_ago=1)]})
    marks.append(mark(service))
    # A backfill: the newest run stays the same.
    service.query(SUBMIT, {"runs": [a_run(hours_ago=500)]})
    marks.append(mark(service))
    for hours in (1, 2):
        until = datetime.now(UTC) + timedelta(hours=hours)
        service.query(SILENCE, {"until": until.isoformat()})
        marks.append(mark(service))
    assert len(set(marks)) == len(marks)
    assert mark(service) == marks[-1]


def test_plans_are_there_before_the_first_run(service: Service) -> None:
    assert service.query("{ plans { id } }", role="viewer")["plans"] == []
    service.query(SET_PLAN, {"plan": PLAN})
    (plan,) = service.query("{ plans { provider } probes { name } }", role="viewer")["plans"]
    assert plan["provider"] == PLAN["provider"]


def test_percentiles_of_the_range_come_in_steps_of_five(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    service.query(SUBMIT, {"runs": [a_run(100 + 5 * i, hours_ago=i + 1) for i in range(21)]})
    document = (
        "query($s: DateTime!, $u: DateTime!) {"
        ' serviceReport(probe: "laptop", since: $s, until: $u) { percentiles } }'
    )
    now = datetime.now(UTC)
    span = {"s": (now - timedelta(days=3)).isoformat(), "u": now.isoformat()}
    assert service.query(document, span)["serviceReport"]["percentiles"] == [
        100 + 5 * i for i in range(21)
    ]
    empty = {"s": (now - timedelta(days=9)).isoformat(), "u": (now - timedelta(days=8)).isoformat()}
    assert service.query(document, empty)["serviceReport"]["percentiles"] == []
