"""The real graph and web behind the gateway: graph believes its word, web asks through it too."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.gateway.test_keys import SPOOFS, Headers, becomes
from tests.lab.mongo import Mongod, free_port, fresh_database
from tests.lab.nginx import Gateway
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, make_service

pytestmark = pytest.mark.gateway

ME = "{ me { name role } }"
SECRET = "the-two-know-each-other-by-this"
SET_PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
PLAN = {
    "provider": "Example Cable",
    "downloadMbps": 940.0,
    "uploadMbps": 35.0,
    "timeZone": "America/Denver",
}


@dataclass
class House:
    """The gateway and the service behind it."""

    gateway: Gateway
    service: Service

    def ask(
        self, document: str, role: str = "admin", headers: Headers | None = None, **variables: Any
    ) -> dict[str, Any]:
        """The whole answer of one operation, errors and all."""
        answer = httpx.post(
            f"{self.gateway.url}/graphql",
            headers=[*(headers or []), ("X-API-Key", self.service.keys[role])],
            json={"query": document, "variables": variables},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    @asynccontextmanager
    async def websocket(self, sent: Headers) -> AsyncIterator[ClientConnection]:
        """Open, and greeted by graph."""
        url = f"ws://127.0.0.1:{self.gateway.port}/graphql"
        protocol = "graphql-transport-ws"
        async with connect(
            url,
            additional_headers=sent,
            subprotocols=[protocol],  # type: ignore[list-item] # a NewType of str
            proxy=None,
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            yield socket


async def operation(socket: ClientConnection, document: str) -> None:
    message = {"id": "1", "type": "subscribe", "payload": {"query": document}}
    await socket.send(json.dumps(message))


async def answer(socket: ClientConnection) -> dict[str, Any]:
    """The next message that is no ping."""
    while True:
        message: dict[str, Any] = json.loads(await socket.recv())
        if message["type"] not in ("ping", "pong"):
            return message


@pytest.fixture(scope="module")
def house(
    mongod: Mongod, tmp_path_factory: pytest.TempPathFactory, speed_dir: Path
) -> Iterator[House]:
    """Tests here may kill the service, if they start it again."""
    folder = tmp_path_factory.mktemp("house")
    internal_port = free_port()
    with fresh_database(mongod) as database:
        service = make_service(
            mongod,
            database,
            folder / "service",
            with_web=True,
            SPEEDTRAP_GRAPH_CALLERS="gateway",
            SPEEDTRAP_GRAPH_GATEWAY_SECRET=SECRET,
            SPEEDTRAP_WEB_GRAPH_URL=f"http://127.0.0.1:{internal_port}",
        )
        gateway = Gateway(
            folder / "gateway",
            service.base_url,
            service.base_url,
            speed_dir,
            internal_port=internal_port,
        )
        gateway.folder.mkdir()
        gateway.keys_file.write_text(service.keys_file.read_text(encoding="utf-8"))
        gateway.secret_file.write_text(SECRET, encoding="utf-8")
        try:
            service.start()
            gateway.start()
            yield House(gateway, service)
        finally:
            gateway.stop()
            service.stop()


@pytest.mark.parametrize(
    ("role", "name"),
    [("admin", "operator"), ("viewer", "page"), ("bot", "postman"), ("probe", "laptop")],
)
def test_every_role_is_who_its_key_says(house: House, role: str, name: str) -> None:
    assert house.ask(ME, role)["data"]["me"] == {"name": name, "role": role.upper()}


@pytest.mark.parametrize("spoof", SPOOFS, ids=str)
def test_a_spoofed_caller_gains_nothing(house: House, spoof: Headers) -> None:
    me = house.ask(ME, "probe", spoof)["data"]["me"]
    assert me == {"name": "laptop", "role": "PROBE"}
    refused = house.ask(SET_PLAN, "probe", spoof, plan=PLAN)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("spoof", SPOOFS, ids=str)
async def test_a_spoofed_caller_gains_nothing_by_websocket(house: House, spoof: Headers) -> None:
    spoof = [pair for pair in spoof if pair[0] != "Connection"]
    with pytest.raises(InvalidStatus) as denied:
        async with house.websocket(spoof):
            pass
    assert denied.value.response.status_code == 401
    async with house.websocket([*spoof, ("X-API-Key", house.service.keys["probe"])]) as socket:
        await operation(socket, ME)
        message = await answer(socket)
    assert message["payload"]["data"]["me"] == {"name": "laptop", "role": "PROBE"}


@pytest.mark.parametrize("role", ["probe", "viewer", "bot"])
def test_a_role_that_may_not_is_forbidden(house: House, role: str) -> None:
    refused = house.ask(SET_PLAN, role, plan=PLAN)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_role_that_may_not_is_forbidden_by_websocket(house: House) -> None:
    mutation = 'mutation { rejectNotice(id: "1", reason: "spite") { id } }'
    key = ("Authorization", f"Bearer {house.service.keys['viewer']}")
    async with house.websocket([key]) as socket:
        await operation(socket, mutation)
        message = await answer(socket)
    errors = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
    assert errors[0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_subscription_tells_of_the_sixth_slow_run_through_the_gateway(
    house: House,
) -> None:
    assert "errors" not in house.ask(SET_PLAN, plan=PLAN)
    runs = slow_runs(6)
    house.ask(SUBMIT, "probe", runs=runs[:5])
    async with house.websocket([("auth", house.service.keys["bot"])]) as socket:
        await operation(socket, "subscription { breaches { kind breach { probe count } } }")
        result = house.ask(SUBMIT, "probe", runs=runs[5:])["data"]["submitRuns"]
        assert result["accepted"] == [runs[5]["id"]]
        message = await answer(socket)
    assert message["payload"]["data"]["breaches"] == {
        "kind": "OPENED",
        "breach": {"probe": "laptop", "count": 6},
    }


def test_who_reaches_graph_beside_the_gateway_is_not_believed(house: House) -> None:
    """As every account of a machine with containers can, whatever their networks are."""
    says = {"X-Speedtrap-Caller": "operator:admin"}
    asked = {"query": ME}
    for guess in ({}, {"X-Speedtrap-Gateway": ""}, {"X-Speedtrap-Gateway": f"{SECRET}!"}):
        beside = f"{house.service.base_url}/graphql"
        assert httpx.post(beside, headers=says | guess, json=asked).status_code == 401
        figures = f"{house.service.base_url}/metrics"
        assert httpx.get(figures, headers=says | guess).status_code == 403
    door = f"http://127.0.0.1:{house.gateway.metrics_port}/metrics"
    assert "speedtrap_database_up 1" in httpx.get(door).text
    assert SECRET not in house.service.log.read_text(encoding="utf-8")


def test_runs_arrive_packed_and_leave_as_an_export(house: House) -> None:
    run = a_run()
    packed = gzip.compress(json.dumps({"query": SUBMIT, "variables": {"runs": [run]}}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    probe = {"X-API-Key": house.service.keys["probe"]}
    answer = httpx.post(f"{house.gateway.url}/graphql", headers=headers | probe, content=packed)
    assert answer.json()["data"]["submitRuns"]["accepted"] == [run["id"]]

    export = f"{house.gateway.url}/export/runs.ndjson?probe=laptop"
    assert httpx.get(export).status_code == 401
    spoofed = {"X-Speedtrap-Caller": "operator:admin"}
    assert httpx.get(export, headers=spoofed).status_code == 401
    lines = httpx.get(export, headers={"X-API-Key": house.service.keys["viewer"]}).text.splitlines()
    assert run["id"] in [json.loads(line)["id"] for line in lines]


def test_the_page_asks_through_the_gateway_with_its_own_key(house: House) -> None:
    house.ask(SUBMIT, "probe", runs=[a_run(512.3, hours_ago=0.01)])
    page = httpx.get(f"{house.gateway.url}/")
    assert page.status_code == 200
    assert "512" in page.text
    lines = house.gateway.access_log().splitlines()
    assert any('"caller":"page:viewer"' in line and '"/graphql"' in line for line in lines)
    assert house.service.keys["viewer"] not in page.text


def test_an_operator_logs_in_through_the_gateway(house: House) -> None:
    with httpx.Client(base_url=house.gateway.url) as browser:
        form = {"key": house.service.keys["admin"], "next": "/settings/plan"}
        browser.headers["Origin"] = "http://elsewhere.example"
        assert browser.post("/login", data=form).status_code == 403
        browser.headers["Origin"] = house.gateway.url
        welcome = browser.post("/login", data=form)
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/settings/plan")
        assert browser.get("/settings/plan").status_code == 200
        assert house.service.keys["admin"] not in house.gateway.access_log()


def test_a_service_that_is_away_is_502_in_json_and_comes_back(house: House) -> None:
    house.service.kill()
    headers = {"X-API-Key": house.service.keys["admin"]}
    for path in ("/graphql", "/readyz", "/"):
        gone = httpx.post(f"{house.gateway.url}{path}", headers=headers, json={"query": ME})
        assert (gone.status_code, gone.json()["error"]["code"]) == (502, "BAD_GATEWAY")
    house.service.start()
    assert house.ask(ME)["data"]["me"]["role"] == "ADMIN"


async def test_a_revoked_key_loses_its_open_subscription_too(house: House) -> None:
    before = house.gateway.keys_file.read_text(encoding="utf-8")
    key = house.service.keys["viewer"]
    kept = [line for line in before.splitlines(keepends=True) if key not in line]
    try:
        async with house.websocket([("X-API-Key", key)]) as socket:
            await operation(socket, "subscription { runs { id } }")
            house.gateway.keys_file.write_text("".join(kept), encoding="utf-8")
            with pytest.raises(ConnectionClosed):
                await answer(socket)
        assert becomes(
            401,
            lambda: httpx.post(f"{house.gateway.url}/graphql", headers={"X-API-Key": key}),
        )
    finally:
        house.gateway.keys_file.write_text(before, encoding="utf-8")
    assert becomes(
        200,
        lambda: httpx.post(
            f"{house.gateway.url}/graphql", headers={"X-API-Key": key}, json={"query": ME}
        ),
    )
