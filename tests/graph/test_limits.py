"""Queries of death, and what errors say."""

from collections.abc import Iterator

import httpx
import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service

RING = "{ probes { ...a } } fragment a on Probe { ...b } fragment b on Probe { ...a }"
BREACH = "{ breach(id: 1) { "
DEEP = BREACH + "notices { breach { " * 8 + "id" + " } }" * 8 + " } }"
WIDE = "{" + " ".join("... on Query { probes { name } }" for _ in range(600)) + "}"
DOUBLING = "{ ...f0 }" + "".join(
    f" fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(25)
) + " fragment f25 on Query { me { name } }"  # fmt: skip


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (DEEP, "deeper"),
        (WIDE, "token"),
        (RING, "itself"),
        (DOUBLING, "asked for already"),
        ("{" + " ".join(f"a{n}: me {{ name }}" for n in range(31)) + "}", "aliases"),
        ("{ ...nowhere }", "Unknown fragment"),
        ("{ speed }", "Cannot query field"),
        ("{ me { name ", "Syntax Error"),
        ('{ runs(since: "2026-01-01") { nodes { id } } }', "offset"),
        ("{ runs(first: 501) { nodes { id } } }", "1 to 500"),
        ("{ runs(first: 0) { nodes { id } } }", "1 to 500"),
        ('{ runs(after: "x") { nodes { id } } }', "cursor"),
        ('{ breaches(after: "AAAA") { nodes { id } } }', "cursor"),
        ('mutation { setPlan(plan: {provider: "I", downloadMbps: 0, timeZone: "UTC"}) { id } }',
         "above 0"),
        ('mutation { setPlan(plan: {provider: "I", downloadMbps: 9, timeZone: "Mars"}) { id } }',
         "America/Denver"),
        ('mutation { setPlan(plan: {provider: "I", downloadMbps: 9, timeZone: "../x"}) { id } }',
         "America/Denver"),
        ("mutation { setRule(rule: {belowRatio: 0.5, belowMbps: 3}) { id } }", "exactly one"),
        ("mutation { setRule(rule: {metric: LATENCY, belowRatio: 0.5}) { id } }", "aboveMs"),
        ("mutation { setRule(rule: {belowRatio: 5}) { id } }", "at most 1"),
    ],
)  # fmt: skip
def test_a_bad_operation_gets_a_clear_error(service: Service, document: str, word: str) -> None:
    answer = service.post(document)
    error = answer["errors"][0]
    assert word in error["message"], error
    assert error["extensions"]["code"] == "BAD_INPUT"


def test_a_body_too_large_is_413_whether_it_says_so_or_not(service: Service) -> None:
    url, headers = f"{service.base_url}/graphql", {"X-API-Key": service.keys["probe"]}
    piece = b"x" * (1024 * 1024)
    headers |= {"Content-Type": "application/json"}
    for content in (piece * 9, (piece for _ in range(9))):
        response = httpx.post(url, headers=headers, content=content, timeout=60)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "BAD_INPUT"


@pytest.mark.parametrize("body", [b"[" * 200_000, b"9" * 5000, b"{", b"\xff", b'"text"', b"[]"])
def test_a_body_that_is_no_operation_is_400(service: Service, body: bytes) -> None:
    response = httpx.post(
        f"{service.base_url}/graphql",
        headers={"X-API-Key": service.keys["viewer"], "Content-Type": "application/json"},
        content=body,
        timeout=60,
    )
    assert response.status_code == 400


def test_too_many_runs_in_a_batch_are_refused(service: Service) -> None:
    answer = service.post(
        "mutation($runs: [RunInput!]!) { submitRuns(runs: $runs) { accepted } }",
        {"runs": [{}] * 501},
    )
    assert answer["errors"][0]["extensions"] == {"code": "BAD_INPUT", "field": "runs"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_served(service: Service, method: str) -> None:
    response = httpx.request(
        method,
        f"{service.base_url}/graphql?query={{me{{name}}}}",
        headers={"X-API-Key": service.keys["admin"]},
        timeout=30,
    )
    assert response.status_code in {400, 404, 405}


def test_it_says_whether_it_lives_and_is_ready(service: Service) -> None:
    assert httpx.get(f"{service.base_url}/healthz", timeout=30).text == "ok\n"
    assert httpx.get(f"{service.base_url}/readyz", timeout=30).json() == {"ready": True}
