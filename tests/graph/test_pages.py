"""Lists come in pages: nothing is left out or repeated, even where moments are the same."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN_NOTICE

LINES = 7
BREACHES = """
query($first: Int!, $after: String) { page: breaches(first: $first, after: $after) {
  nodes { id openedAt } edges { cursor } pageInfo { hasNextPage endCursor }
} }
"""
NOTICES = """
query($first: Int!, $after: String) { page: notices(first: $first, after: $after) {
  nodes { id plannedAt } edges { cursor } pageInfo { hasNextPage endCursor }
} }
"""


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Seven lines whose breaches opened at the same moment, with a letter about each."""
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        set_up = """
        mutation($plan: PlanInput!, $rule: RuleInput!) {
          setPlan(plan: $plan) { id } setRule(rule: $rule) { id }
        }"""
        plan = {"provider": "ISP", "downloadMbps": 1000, "timeZone": "UTC"}
        running.query(set_up, {"plan": plan, "rule": {"belowRatio": 0.5, "moreThan": 0}})
        moment = datetime.now(UTC).isoformat()
        runs = [a_slow_run(f"line-{number}", moment) for number in range(LINES)]
        running.query(SUBMIT, {"runs": runs})
        for breach in running.query(BREACHES, {"first": 500})["page"]["nodes"]:
            notice = {"breach": breach["id"], "stage": "OPENING", "channel": "mail", "text": "Dear"}
            running.query(PLAN_NOTICE, {"notice": notice}, "bot")
        yield running


def a_slow_run(probe: str, moment: str) -> dict[str, Any]:
    measurement = {"tool": "ookla", "startedAt": moment, "durationS": 9, "downloadMbps": 50}
    return {
        "id": str(uuid4()), "probe": probe, "startedAt": moment, "finishedAt": moment,
        "measurements": [measurement],
    }  # fmt: skip


@pytest.mark.parametrize("document", [BREACHES, NOTICES])
@pytest.mark.parametrize("size", [1, 3, LINES])
def test_pages_leave_out_and_repeat_nothing(service: Service, document: str, size: int) -> None:
    whole = service.query(document, {"first": 500})["page"]
    assert len(whole["nodes"]) == LINES
    assert not whole["pageInfo"]["hasNextPage"]
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        page = service.query(document, {"first": size, "after": after})["page"]
        seen += page["nodes"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == whole["nodes"]


@pytest.mark.parametrize("document", [BREACHES, NOTICES])
def test_a_cursor_of_nothing_is_refused(service: Service, document: str) -> None:
    (error,) = service.post(document, {"first": 5, "after": "nonsense"})["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_INPUT", "after")
