"""`/api/q/`: what the page shows, as JSON, without a key."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from speedtrap_web.graphql.client import load_operations
from speedtrap_web.pages.questions import PUBLIC_OPERATIONS

from tests.lab.service import Service

GUIDE = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^curl -s 'https://speedtrap\.example(/api/q/[^']+)'$", GUIDE, re.MULTILINE)
ROWS = re.findall(r"^\| (`.*?`) \| (.*?) ?\| .* \|$", GUIDE, re.MULTILINE)
RANGE = {"probe": "laptop", "since": "2025-11-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
NOBODY = "00000000-0000-4000-8000-000000000000"
VARIABLES: dict[str, dict[str, str]] = {
    "breach": {"id": NOBODY},
    "days": {**RANGE, "days": "31"},
    "history": RANGE,
    "month": RANGE,
    "range": {**RANGE, "buckets": "20"},
    "run": {"id": NOBODY},
}


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_of_the_guide_is_answered_and_then_known(
    client: httpx.Client, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()
    while (again := client.get(path, headers={"If-None-Match": answer.headers["etag"]})).content:
        # A minute began between the two: the new answer stands for a minute again.
        answer = again
    assert again.status_code == 304


def test_the_guide_names_every_operation_with_its_variables() -> None:
    operations = load_operations()
    told = {
        name: re.findall(r"`(\w+)`", variables)
        for names, variables in ROWS
        for name in re.findall(r"`(\w+)`", names)
        if name in operations
    }
    assert set(told) == PUBLIC_OPERATIONS
    for name, variables in told.items():
        assert sorted(variables) == sorted(operations[name].variables), name


@pytest.mark.parametrize("name", sorted(PUBLIC_OPERATIONS))
def test_nobody_reads_a_key_an_address_or_a_recipient(
    client: httpx.Client, lived_in: Service, name: str
) -> None:
    answer = client.get(f"/api/q/{name}", params=VARIABLES.get(name, {}))
    assert answer.status_code == 200, answer.text
    assert "5f1d5f1d" not in answer.text
    assert "isp.example" not in answer.text
    assert not any(key in answer.text for key in lived_in.keys.values())


@pytest.mark.parametrize(
    ("path", "field", "allowed"),
    [
        ("notice?id=1", "operation", sorted(PUBLIC_OPERATIONS)),
        ("changes?probe=laptop", "probe", []),
        ("run", "id", None),
        ("runs?first=many", "first", None),
        ("runs?probe=a&probe=b", "probe", None),
        ("breaches?status=OPEN,CLOSED", "status", None),
    ],
)
def test_a_refusal_names_the_field_and_what_would_do(
    client: httpx.Client, path: str, field: str, allowed: list[str] | None
) -> None:
    answer = client.get(f"/api/q/{path}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("BAD_INPUT", field)
    if allowed is not None:
        assert error["allowed"] == allowed
