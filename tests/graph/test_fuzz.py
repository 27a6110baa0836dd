"""Operations that nobody would think of: never a 500, never a masked error, always JSON.

For `SPEEDTRAP_FUZZ_SECONDS` (`make fuzz`: ten minutes), else for a few seconds.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from graphql import OperationDefinitionNode, parse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("SPEEDTRAP_FUZZ_SECONDS", "6"))
ROLES = ("admin", "viewer", "bot", "probe")
MOMENTS = st.one_of(
    st.just("2026-11-24T06:00:00Z"), st.datetimes().map(lambda at: f"{at.isoformat()}+01:00")
)
SCALARS = {
    "DateTime": MOMENTS.map(nodes.String),
    "UUID": st.uuids().map(str).map(nodes.String),
    "BigInt": st.integers().map(nodes.Int),
    "RunInput": st.just(a_run()).map(lambda run: nodes.String(json.dumps(run))),
}
WORDS = st.sampled_from(["laptop", "DOWNLOAD", "*", "0", "1", "mail", "a@isp.example", "UTC", ""])
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), WORDS, MOMENTS
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=12), inner, max_size=4),
    ),
    max_leaves=12,
)
PACKAGED = sorted(
    file.read_text(encoding="utf-8") for file in ROOT.glob("*/speedtrap_*/operations/*.graphql")
)

for _name, _strategy in SCALARS.items():
    schemathesis.graphql.scalar(_name, _strategy)
FROM_THE_SCHEMA = schemathesis.graphql.from_path(ROOT / "graph/schema.graphql")


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With something to find: a plan, a breach, runs."""
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("fuzz")) as running,
    ):
        running.query(SET_PLAN, {"plan": PLAN})
        running.query(SUBMIT, {"runs": slow_runs(8)})
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.base_url, timeout=90) as opened:
        yield opened


def for_a_while(strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> int:
    """Draws examples until the time is up; how many. The first failure is shrunk and raised."""
    drawn = 0

    def counted(example: Any) -> None:
        nonlocal drawn
        drawn += 1
        check(example)

    bounded = settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    deadline = time.monotonic() + SECONDS / 3
    while time.monotonic() < deadline:
        bounded(given(strategy)(counted))()
    return drawn


def variable_names(document: str) -> list[str]:
    return [
        variable.variable.name.value
        for definition in parse(document).definitions
        if isinstance(definition, OperationDefinitionNode)
        for variable in definition.variable_definitions or ()
    ]


def ask(client: httpx.Client, service: Service, role: str, content: bytes) -> None:
    answer = client.post(
        "/graphql",
        headers={"X-API-Key": service.keys[role], "Content-Type": "application/json"},
        content=content,
    )
    assert answer.status_code < 500, (answer.status_code, answer.text)
    told = answer.json()
    errors = told.get("errors", [])
    for error in errors:
        code = error.get("extensions", {}).get("code")
        assert code is not None, error
        assert code != "INTERNAL", (error, _log_tail(service))


def _log_tail(service: Service) -> str:
    return service.log.read_text(encoding="utf-8")[-3000:]


def test_operations_made_from_the_schema_never_fail_inside(
    service: Service, client: httpx.Client
) -> None:
    """Valid ones, of every field of every type, by schemathesis."""
    cases = FROM_THE_SCHEMA.as_strategy()

    def check(example: tuple[Any, str]) -> None:
        case, role = example
        ask(client, service, role, json.dumps({"query": case.body}).encode())

    assert for_a_while(st.tuples(cases, st.sampled_from(ROLES)), check)


def test_packaged_operations_with_any_variables_never_fail_inside(
    service: Service, client: httpx.Client
) -> None:
    """What probe, bots and web send, with values that they would not, and pieces exchanged."""

    def check(example: tuple[str, str, dict[str, Any], list[Any]]) -> None:
        role, document, extra, values = example
        names = variable_names(document)
        variables = dict(zip(names, values, strict=False)) | extra
        body = {"query": document, "variables": variables}
        ask(client, service, role, json.dumps(body).encode())

    documents = st.sampled_from(PACKAGED)
    extra = st.dictionaries(st.text(max_size=8), JSON, max_size=2)
    values = st.lists(JSON, min_size=8, max_size=8)
    assert for_a_while(st.tuples(st.sampled_from(ROLES), documents, extra, values), check)


def test_broken_documents_never_fail_inside(service: Service, client: httpx.Client) -> None:
    """Documents with a piece cut out, doubled or replaced, and bodies that are no document."""

    def check(example: tuple[str, int, int, str]) -> None:
        document, start, length, put = example
        start %= len(document)
        broken = document[:start] + put + document[start + length :]
        ask(client, service, "admin", json.dumps({"query": broken}).encode("utf-8", "replace"))

    pieces = st.one_of(st.text(max_size=6), st.sampled_from(["{", "}", "$", "@a", "...", "!", '"']))
    offsets = st.integers(0, 10_000)
    broken = st.tuples(st.sampled_from(PACKAGED), offsets, st.integers(0, 30), pieces)
    assert for_a_while(broken, check)
