"""Every operation with every role's key, and every field with its decision."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLField,
    GraphQLObjectType,
    build_schema,
    get_named_type,
    is_required_argument,
)
from speedtrap_graph.api.guards.roles import (
    ROOTS,
    May,
    UndecidedError,
    as_markdown,
    decisions,
    enforce,
)
from speedtrap_graph.api.schema import SCHEMA
from speedtrap_graph.http.callers import Role

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service, running_service
from tests.lab.wire import socket

ROOT = Path(__file__).parents[2]
PRINTED = build_schema((ROOT / "graph" / "schema.graphql").read_text(encoding="utf-8"))
SAMPLES = {
    "Boolean": "false",
    "ChannelState": "READY",
    "DateTime": '"2026-01-01T00:00:00Z"',
    "ID": '"none"',
    "Int": "1",
    "NoticeInput": '{breach: "none", stage: OPENING, channel: "mail", text: "Hello"}',
    "PlanInput": '{provider: "ISP", downloadMbps: 100, timeZone: "UTC"}',
    "RuleInput": "{belowRatio: 0.5}",
    "RunInput": "[]",
    "SettleOutcome": "SENT",
    "String": '"laptop"',
    "UUID": '"0190b1c2-7d3e-7a44-8f5b-2c6d7e8f9a0b"',
}
OPERATIONS = [
    pytest.param(root, name, may, role, id=f"{role.value.lower()} {root} {name}")
    for root, by_may in ROOTS.items()
    if root != "Subscription"
    for may, names in by_may.items()
    for name in names.split()
    for role in Role
]


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


def field_of(root: str, name: str) -> GraphQLField:
    owner = PRINTED.type_map[root]
    assert isinstance(owner, GraphQLObjectType)
    field: GraphQLField = owner.fields[name]
    return field


def operation(root: str, name: str) -> str:
    """The shortest one with this field: its required arguments, and of objects the type."""
    field = field_of(root, name)
    given = [
        f"{key}: {SAMPLES[get_named_type(argument.type).name]}"
        for key, argument in field.args.items()
        if is_required_argument(argument)
    ]
    arguments = f"({', '.join(given)})" if given else ""
    inner = " { __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
    return f"{root.lower()} {{ {name}{arguments}{inner} }}"


def refusals(answer: dict[str, Any]) -> list[list[str]]:
    errors = [error["extensions"] for error in answer.get("errors", [])]
    return [told["allowed"] for told in errors if told["code"] == "FORBIDDEN"]


def names(may: May) -> list[str]:
    return [role.value for role in Role if role in may.roles]


def test_every_field_of_the_printed_schema_has_a_decision() -> None:
    printed = {
        f"{owner.name}.{name}"
        for owner in PRINTED.type_map.values()
        if isinstance(owner, GraphQLObjectType) and not owner.name.startswith("__")
        for name in owner.fields
    }
    assert printed == decisions().keys()


def test_a_field_without_a_decision_keeps_the_service_from_starting() -> None:
    printed = SCHEMA.as_str().replace("type Query {", "type Query {\n  secret: String")
    with pytest.raises(UndecidedError, match=r"Query\.secret"):
        enforce(build_schema(printed))


def test_the_table_in_the_docs_is_the_one_that_is_enforced() -> None:
    """`python -m speedtrap_graph.api.guards.roles > docs/roles.md` brings it up to date."""
    assert (ROOT / "docs" / "roles.md").read_text(encoding="utf-8") == as_markdown()


@pytest.mark.parametrize(("root", "name", "may", "role"), OPERATIONS)
def test_a_role_may_exactly_what_the_table_says(
    service: Service, root: str, name: str, may: May, role: Role
) -> None:
    answer = service.post(operation(root, name), role=role.value.lower())
    assert refusals(answer) == ([] if role in may.roles else [names(may)])


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("name", "may"),
    [(name, may) for may, every in ROOTS["Subscription"].items() for name in every.split()],
)
async def test_a_role_may_follow_exactly_what_the_table_says(
    service: Service, name: str, may: May, role: Role
) -> None:
    key = service.keys[role.value.lower()]
    async with socket(service, {"X-API-Key": key}) as wire:
        await wire.subscribe(operation("Subscription", name), key="followed")
        if role in may.roles:
            # Nothing happens, so the first to answer is who was asked next.
            await wire.subscribe("{ me { name } }", key="asked")
            assert (await wire.receive())["id"] == "asked"
        else:
            message = await wire.receive()
            assert (message["id"], message["type"]) == ("followed", "error")
            assert refusals({"errors": message["payload"]}) == [names(may)]


def test_without_a_key_every_operation_is_answered_with_401(service: Service) -> None:
    with httpx.Client(base_url=service.base_url) as client:
        statuses = {
            client.post("/graphql", json={"query": operation(root, name)}).status_code
            for root, by_may in ROOTS.items()
            for all_ in by_may.values()
            for name in all_.split()
        }
    assert statuses == {401}


@pytest.mark.parametrize("name", ROOTS["Query"][May.OWN].split())
def test_a_probe_gets_nothing_of_another_probe(service: Service, name: str) -> None:
    """By name it is refused; in lists and by id the other's do not exist for it."""
    service.query(SUBMIT, {"runs": [a_run(probe="attic")]})
    query = operation("Query", name).replace('"laptop"', '"attic"')
    seen = {"probes": "name", "runs": "nodes { probe }"}.get(name, "__typename")
    query = query.replace("__typename", seen)
    answer = service.post(query, role="probe")
    if "attic" in query:
        assert refusals(answer) == [["laptop"]]
    else:
        assert "attic" not in str(answer)
