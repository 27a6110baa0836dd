"""Every query of docs/api.md is asked as it stands, with the key that its first line names."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN, socket

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```graphql\n(.*?)^```\n(?:\n```json\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r"^# key: (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One ```graphql block, and the ```json of variables behind it, if there is one."""

    document: str
    variables: dict[str, Any]

    @property
    def role(self) -> str:
        found = ROLE.match(self.document)
        assert found, "the first line says whose key will do"
        return found[1]

    @property
    def field(self) -> str:
        found = re.search(r"^  (\w+)", self.document, re.MULTILINE)
        assert found
        return found[1]


EXAMPLES = [
    Example(document, json.loads(variables or "{}"))
    for document, variables in BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
]
ANSWERED = [example for example in EXAMPLES if "subscription" not in example.document]
FOLLOWED = [example for example in EXAMPLES if "subscription" in example.document]


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With an open breach of the probe `laptop`, so that no list is empty for want of one."""
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("guide")) as running,
    ):
        running.query(SET_PLAN, {"plan": PLAN})
        running.query(SUBMIT, {"runs": slow_runs(7)}, role="probe")
        yield running


def test_the_guide_shows_how_to_ask_for_each_of_the_main_things() -> None:
    shown = {example.field for example in EXAMPLES}
    assert {"history", "serviceReport", "breaches", "findings", "submitRuns"} <= shown
    assert FOLLOWED


@pytest.mark.parametrize("example", ANSWERED, ids=lambda example: example.field)
def test_a_query_of_the_guide_is_answered(service: Service, example: Example) -> None:
    data = service.query(example.document, example.variables, role=example.role)
    assert data[example.field] is not None


def test_the_run_of_the_guide_is_accepted_or_known(service: Service) -> None:
    (example,) = (example for example in ANSWERED if example.field == "submitRuns")
    result = service.query(example.document, example.variables, role="probe")["submitRuns"]
    (run,) = example.variables["runs"]
    assert result["accepted"] + result["duplicates"] == [run["id"]]
    assert result["rejected"] == []


@pytest.mark.parametrize("example", FOLLOWED, ids=lambda example: example.field)
async def test_a_subscription_of_the_guide_tells_what_happened(
    service: Service, example: Example
) -> None:
    key = {"X-API-Key": service.keys[example.role]}
    async with socket(service, key) as opened:
        await opened.subscribe(example.document, example.variables)
        assert (await opened.next_data())[example.field]["breach"]["probe"] == "laptop"
