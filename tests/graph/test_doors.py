"""What an operation may cost, how often a key may ask, and whose socket stays open."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets
from graphql import GraphQLObjectType, OperationDefinitionNode, parse
from speedtrap_graph.api.guards.cost import WEIGHTS, Cost, estimate
from speedtrap_graph.api.schema import SCHEMA
from speedtrap_graph.http.callers import Caller, Gateway, KeyFile, Role
from speedtrap_graph.http.quotas import Quotas

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT
from tests.lab.service import Service, running_service
from tests.lab.wire import socket

INTROSPECTION = "{ __schema { types { name fields { name } } } }"
UUID_WITHOUT_HYPHENS = "0190b1c27d3e7a448f5b2c6d7e8f9a0b"
PROBE = Caller("laptop", Role.PROBE)


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


def refusal(
    service: Service, document: str, variables: dict[str, Any] | None = None, role: str = "admin"
) -> dict[str, Any]:
    error: dict[str, Any] = service.post(document, variables, role)["errors"][0]
    return {"message": error["message"], **error["extensions"]}


def cost(document: str, **variables: Any) -> Cost:
    parsed = parse(document)
    (operation,) = (d for d in parsed.definitions if isinstance(d, OperationDefinitionNode))
    return estimate(SCHEMA._schema, parsed, operation, variables)


def test_every_field_that_reads_says_how_much() -> None:
    """A field with a resolver of its own needs a line in `api.cost.WEIGHTS`."""
    resolved = {
        f"{type_.name}.{name}"
        for type_ in SCHEMA._schema.type_map.values()
        if isinstance(type_, GraphQLObjectType) and type_.name != "Mutation"
        for name, field in type_.fields.items()
        if getattr(field.extensions.get("strawberry-definition"), "base_resolver", None)
    }
    assert resolved <= set(WEIGHTS), resolved - set(WEIGHTS)
    known = {
        f"{type_.name}.{field}"
        for type_ in SCHEMA._schema.type_map.values()
        for field in getattr(type_, "fields", ())
    }
    assert set(WEIGHTS) <= known


def test_the_cost_follows_pages_buckets_and_windows() -> None:
    assert cost("{ me { name } }").documents == 0
    assert cost("{ runs { nodes { id } } }").documents == 50
    assert cost("{ runs(first: 7) { nodes { id plan { id } } } }").documents == 14
    by_variable = "query($n: Int! = 9) { runs(first: $n) { nodes { id } } }"
    assert cost(by_variable).documents == 9
    assert cost(by_variable, n=4).documents == 4
    times = 'since: "2026-01-01T00:00:00Z", until: "2026-01-11T00:00:00Z"'
    assert cost(f'{{ history(probe: "x", {times}, buckets: 90) {{ t }} }}').documents == 90
    assert cost(f'{{ serviceReport(probe: "x", {times}) {{ n }} }}').documents == 59
    fragment = "{ breaches(first: 3) { nodes { ...f } } } fragment f on Breach { notices { id } }"
    assert cost(fragment).documents == 3 + 3 * 10


def test_an_operation_that_costs_too_much_is_told_what_to_lower(service: Service) -> None:
    told = refusal(service, "{ breaches(first: 500) { nodes { runs { id } } } }")
    assert told["code"] == "BAD_INPUT"
    assert (told["cost"], told["limit"]) == (500 + 500 * 500, 50_000)
    assert told["field"] == "breaches.first"
    assert "breaches → nodes → runs. Lower `breaches.first`" in told["message"]


def test_too_many_variables_are_refused(service: Service) -> None:
    many = {f"v{n}": n for n in range(10_000)}
    assert refusal(service, "{ me { name } }", many)["field"] == "variables"


@pytest.mark.parametrize(
    ("document", "field", "allowed"),
    [
        ("{ runs { nodes { downloadMbs } } }", "downloadMbs", ["downloadMbps", "uploadMbps"]),
        ("{ runs(frist: 3) { nodes { id } } }", "frist", ["first"]),
        ("{ probe { name } }", "name", None),
        ("{ runs(first: 501) { nodes { id } } }", "first", None),
        ("query($first: Int!) { runs(first: $first) { nodes { id } } }", "first", None),
        ("{ me }", "me", None),
        ("{ runs(outcomes: [OUTAGES]) { nodes { id } } }", None, ["OUTAGE"]),
    ],
)
def test_a_mistake_is_answered_with_its_field_and_what_is_allowed(
    service: Service, document: str, field: str | None, allowed: list[str] | None
) -> None:
    told = refusal(service, document)
    assert told["code"] == "BAD_INPUT"
    assert told.get("field") == field, told
    assert told.get("allowed") == allowed, told


@pytest.mark.parametrize(
    ("type_", "document", "values"),
    [
        ("UUID!", "run(id: $v) { id }", [5, UUID_WITHOUT_HYPHENS, "{x}", "", None, [], True]),
        ("DateTime", "runs(since: $v) { nodes { id } }", ["2026-01-01", "now", 5, {}]),
        ("Int!", "runs(first: $v) { nodes { id } }", [2**31, 1.5, "5", float("nan"), True]),
        ("ID!", "breach(id: $v) { id }", [1.5, True, {"a": 1}]),
    ],
)
def test_scalars_are_strict(service: Service, type_: str, document: str, values: list[Any]) -> None:
    for value in values:
        body = {"query": f"query($v: {type_}) {{ {document} }}", "variables": {"v": value}}
        response = httpx.post(
            f"{service.base_url}/graphql",
            headers={"X-API-Key": service.keys["admin"], "Content-Type": "application/json"},
            content=json.dumps(body),
            timeout=30,
        )
        error = response.json()["errors"][0]
        assert error["extensions"]["code"] == "BAD_INPUT", (value, error)
        assert error["extensions"]["field"] == "v", (value, error)


def test_half_a_character_is_no_text(service: Service) -> None:
    response = httpx.post(
        f"{service.base_url}/graphql",
        headers={"X-API-Key": service.keys["admin"], "Content-Type": "application/json"},
        content=rb'{"query": "query($p: String!) { probe(name: $p) { name } }",'
        rb' "variables": {"p": "\ud800"}}',
        timeout=30,
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_INPUT"


def test_a_probe_does_not_read_the_schema_and_everybody_else_may(service: Service) -> None:
    told = refusal(service, INTROSPECTION, role="probe")
    assert (told["code"], told["field"]) == ("FORBIDDEN", "__schema")
    hidden = '{ ...f } fragment f on Query { t: __type(name: "Run") { name } }'
    assert refusal(service, hidden, role="probe")["code"] == "FORBIDDEN"
    for role in ("viewer", "bot", "admin"):
        assert service.query(INTROSPECTION, role=role)["__schema"]["types"]


def test_a_bucket_empties_and_refills() -> None:
    now = [0.0]
    quotas = Quotas({Role.PROBE: 60}, now=lambda: now[0])
    assert [quotas.take(PROBE) for _ in range(60)] == [None] * 60
    assert quotas.take(PROBE) == pytest.approx(1.0)
    assert quotas.take(Caller("attic", Role.PROBE)) is None
    assert quotas.take(Caller("page", Role.VIEWER)) is None
    now[0] = 1.5
    assert quotas.take(PROBE) is None
    assert quotas.take(PROBE) == pytest.approx(0.5)
    assert quotas.refused_count == 2


def test_what_a_probe_sent_too_much_is_paid_off_before_its_next_request() -> None:
    now = [0.0]
    quotas = Quotas({Role.PROBE: 600}, {Role.PROBE: 600_000}, now=lambda: now[0])
    quotas.charge(PROBE, 600_000)
    assert quotas.take(PROBE) is None
    quotas.charge(PROBE, 20_000)
    assert quotas.take(PROBE) == pytest.approx(2.0)
    assert quotas.take(Caller("attic", Role.PROBE)) is None
    now[0] = 2.5
    assert quotas.take(PROBE) is None
    for size in (10**9, 10**9):
        quotas.charge(Caller("operator", Role.ADMIN), size)
    assert quotas.take(Caller("operator", Role.ADMIN)) is None


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(
        mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_REQUESTS_PER_MINUTE="probe=3, viewer=4"
    ) as service:
        url, headers = f"{service.base_url}/graphql", {"X-API-Key": service.keys["probe"]}
        body = {"query": SUBMIT, "variables": {"runs": []}}
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            answers = [await client.post(url, json=body) for _ in range(5)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 1 <= len(refused) <= 2
        error = refused[0].json()["errors"][0]
        assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfterS": 20}
        assert refused[0].headers["Retry-After"] == "20"

        async with socket(service, {"X-API-Key": service.keys["viewer"]}) as opened:
            codes = []
            for key in "abcdef":
                await opened.subscribe("{ me { name } }", key=key)
                message = await opened.receive()
                if message["type"] == "error":
                    codes.append(message["payload"][0]["extensions"]["code"])
                else:
                    await opened.receive()  # complete
            assert "RATE_LIMITED" in codes
        everybody_else = await asyncio.to_thread(service.query, "{ me { name } }", None, "admin")
        assert everybody_else == {"me": {"name": "operator"}}


async def test_an_operation_that_takes_too_long_is_stopped(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(
        mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_OPERATION_TIMEOUT_S="0.000001"
    ) as service:
        answer = await asyncio.to_thread(service.post, "{ probes { name } }")
        assert answer["errors"][0]["extensions"]["code"] == "TIMEOUT"
        async with socket(service, {"X-API-Key": service.keys["viewer"]}) as opened:
            await opened.subscribe("{ probes { name } }")
            payload = (await opened.receive())["payload"]
            errors = payload if isinstance(payload, list) else payload["errors"]
            assert errors[0]["extensions"]["code"] == "TIMEOUT"


async def test_a_revoked_key_closes_its_sockets_and_no_others(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(mongod, database_name, tmp_path) as service:
        async with (
            socket(service, {"X-API-Key": service.keys["bot"]}) as revoked,
            socket(service, {"X-API-Key": service.keys["viewer"]}) as other,
        ):
            await revoked.subscribe("subscription { breaches { cursor } }")
            lines = service.keys_file.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if service.keys["bot"] not in line]
            service.keys_file.write_text("".join(kept), encoding="utf-8")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await revoked.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403
            assert closed.value.rcvd.reason == "this key was revoked"
            await other.subscribe("{ me { role } }")
            assert await other.next_data() == {"me": {"role": "VIEWER"}}


def test_behind_the_gateway_a_revoked_key_counts_where_the_file_is_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "api_keys"
    path.write_text('"a-key-of-many-characters" "attic:probe";\n', encoding="utf-8")
    gateway = Gateway(KeyFile(path))
    said = {"x-speedtrap-caller": "attic:probe"}
    assert gateway.identify(said) == Caller("attic", Role.PROBE)
    assert gateway.identify({"x-speedtrap-caller": "attic:admin"}) is None
    path.write_text("", encoding="utf-8")
    assert gateway.identify(said) is None


async def test_a_client_that_takes_no_data_is_dropped_and_the_others_go_on(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(
        mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_SOCKET_PATIENCE_S="1"
    ) as service:
        assert service.process is not None
        server = psutil.Process(service.process.pid)
        async with (
            socket(service, {"X-API-Key": service.keys["viewer"]}) as good,
            socket(service, {"X-API-Key": service.keys["viewer"]}) as stalled,
        ):
            port = stalled.connection.local_address[1]
            for key in range(40):
                await stalled.subscribe(INTROSPECTION, key=str(key))
            stalled.connection.transport.pause_reading()
            deadline = time.monotonic() + 60
            while _holds(server, port) and time.monotonic() < deadline:
                await good.subscribe("{ me { role } }")
                assert await good.next_data() == {"me": {"role": "VIEWER"}}
                assert (await good.receive())["type"] == "complete"
                await asyncio.sleep(0.2)
            assert not _holds(server, port)


def _holds(server: psutil.Process, port: int) -> bool:
    return any(getattr(found.raddr, "port", None) == port for found in server.net_connections())


def test_a_subscription_over_http_is_told_where_to_go(service: Service) -> None:
    (error,) = service.post("subscription { breaches { cursor } }")["errors"]
    assert error["extensions"] == {"code": "BAD_INPUT"}
    assert "WebSocket" in error["message"]
