"""Who may do what, over HTTP and over WebSocket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from speedtrap_graph.http.callers import Caller, Gateway, KeyFile, KeyFileError, Role, parse_keys
from websockets.typing import Subprotocol

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service, running_service
from tests.lab.wire import APPROVE, PLAN, PLAN_NOTICE, SET_PLAN, socket

ME = "{ me { name role } }"
KEY = "a-key-of-many-characters"
NOTICE = {"breach": "none", "stage": "OPENING", "channel": "mail", "text": "Hello"}
SOON = "2030-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests of this module: they ask for leave and leave next to nothing behind."""
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


async def ask_me(service: Service, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(f"{service.base_url}/graphql", headers=headers, json={"query": ME})


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "wrong"}, {"X-Speedtrap-Caller": "operator:admin"}, {"Authorization": "x"}],
    ids=["no key", "an unknown key", "the gateway's header", "another scheme"],
)
async def test_without_a_known_key_the_answer_is_401_in_json(
    service: Service, headers: dict[str, str]
) -> None:
    response = await ask_me(service, headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "UNAUTHENTICATED"

    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(
            service.ws_url,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers=headers,
        )
    assert refused.value.response.status_code == 401
    assert b"UNAUTHENTICATED" in refused.value.response.body


@pytest.mark.parametrize("how", ["X-API-Key", "Authorization", "auth"])
async def test_a_key_may_come_in_three_headers(service: Service, how: str) -> None:
    key = service.keys["viewer"]
    headers = {how: f"Bearer {key}" if how == "Authorization" else key}
    spoofed = {**headers, "X-Speedtrap-Caller": "operator:admin"}
    response = await ask_me(service, spoofed)
    assert response.json() == {"data": {"me": {"name": "page", "role": "VIEWER"}}}
    async with socket(service, spoofed) as opened:
        await opened.subscribe(ME)
        assert (await opened.next_data())["me"]["role"] == "VIEWER"


OPERATIONS: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("probes", "{ probes { name } }", {}, {"probe", "viewer", "bot"}),
    ("runs", "{ runs { nodes { id } } }", {}, {"probe", "viewer", "bot"}),
    ("another probe's runs", '{ runs(probe: "attic") { nodes { id } } }', {}, {"viewer", "bot"}),
    ("breaches", "{ breaches { nodes { id } } }", {}, {"probe", "viewer", "bot"}),
    ("notices", "{ notices { nodes { id } } }", {}, {"viewer", "bot"}),
    ("eventCursor", '{ eventCursor(consumer: "x") }', {}, {"bot"}),
    ("submitRuns", SUBMIT, {"runs": []}, {"probe"}),
    ("setPlan", SET_PLAN, {"plan": PLAN}, set()),
    ("setRule", "mutation { setRule(rule: {belowRatio: 0.5}) { id } }", {}, set()),
    ("silence", f'mutation {{ silence(probe: "x", until: "{SOON}", reason: "r") {{ by }} }}', {},
     set()),
    ("planNotice", PLAN_NOTICE, {"notice": NOTICE}, {"bot"}),
    ("approveNotice", APPROVE, {"id": "none", "digest": "x"}, set()),
    ("rejectNotice", 'mutation { rejectNotice(id: "none", reason: "r") { id } }', {}, set()),
    ("claimNotice", 'mutation { claimNotice(channel: "m", worker: "w") { fence } }', {}, {"bot"}),
    ("beginSending", 'mutation { beginSending(id: "none", fence: 1) }', {}, {"bot"}),
    ("settleNotice", 'mutation { settleNotice(id: "none", fence: 1, outcome: SENT) { id } }', {},
     {"bot"}),
    ("saveEventCursor", 'mutation { saveEventCursor(consumer: "x", cursor: "0") }', {}, {"bot"}),
]  # fmt: skip


async def test_each_role_may_do_its_own_and_no_more(service: Service) -> None:
    for role in ("probe", "viewer", "bot", "admin"):
        async with socket(service, {"X-API-Key": service.keys[role]}) as opened:
            for name, document, variables, allowed in OPERATIONS:
                over_http = service.post(document, variables, role)
                await opened.subscribe(document, variables)
                over_ws = (await opened.receive())["payload"]
                await opened.receive()  # complete
                forbidden = role != "admin" and role not in allowed
                assert _forbidden(over_http) is forbidden, (name, role, over_http)
                assert _forbidden(over_ws) is forbidden, (name, role, over_ws)


async def test_a_probe_may_not_follow_the_breaches(service: Service) -> None:
    async with socket(service, {"X-API-Key": service.keys["probe"]}) as opened:
        await opened.subscribe("subscription { breaches { cursor } }")
        message = await opened.receive()
        errors = message["payload"]
        found = errors if isinstance(errors, list) else errors["errors"]
        assert found[0]["extensions"]["code"] == "FORBIDDEN"


def test_behind_the_gateway_its_header_says_who_calls(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(
        mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_CALLERS="gateway"
    ) as service:
        url = f"{service.base_url}/graphql"
        known = {"X-Speedtrap-Caller": "page:viewer"}
        answer = httpx.post(url, headers=known, json={"query": ME}, timeout=30)
        assert answer.json() == {"data": {"me": {"name": "page", "role": "VIEWER"}}}
        key = {"X-API-Key": service.keys["admin"]}
        assert httpx.post(url, headers=key, json={"query": ME}, timeout=30).status_code == 401


def test_the_gateways_word_counts_only_beside_its_secret() -> None:
    gateway = Gateway(secret="planted-secret")
    said = {"x-speedtrap-caller": "page:viewer"}
    assert gateway.identify(said) is None
    assert gateway.identify({**said, "x-speedtrap-gateway": "planted-secres"}) is None
    known = {**said, "x-speedtrap-gateway": "planted-secret"}
    assert gateway.identify(known) == Caller("page", Role.VIEWER)
    assert "planted" not in repr(gateway)


def test_a_probe_sees_its_own_runs_only(service: Service) -> None:
    mine, other = a_run(), a_run(probe="attic")
    service.query(SUBMIT, {"runs": [mine, other]})
    document = "query($id: UUID!) { run(id: $id) { id } runs { nodes { probe } } probes { name } }"
    seen = service.query(document, {"id": other["id"]}, role="probe")
    assert seen == {
        "run": None,
        "runs": {"nodes": [{"probe": "laptop"}]},
        "probes": [{"name": "laptop"}],
    }


def test_a_changed_key_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "api_keys"
    path.write_text(f'"{KEY}" "attic:probe";\n', encoding="utf-8")
    keys = KeyFile(path)
    assert keys.identify({"x-api-key": KEY}) == Caller("attic", Role.PROBE)

    path.write_text(f'"{KEY}-other" "attic:probe";\n', encoding="utf-8")
    assert keys.identify({"x-api-key": KEY}) is None
    assert keys.identify({"auth": f"{KEY}-other"}) == Caller("attic", Role.PROBE)

    path.write_text("garbage\n", encoding="utf-8")
    assert keys.identify({"x-api-key": f"{KEY}-other"}) is None
    path.unlink()
    assert keys.identify({"x-api-key": f"{KEY}-other"}) is None


def test_a_key_is_not_kept_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "api_keys"
    path.write_text(f'"{KEY}" "attic:probe";\n', encoding="utf-8")
    keys = KeyFile(path)
    keys.check()
    assert KEY not in str(vars(keys))


@pytest.mark.parametrize(
    "line",
    ['"short" "a:probe";', f'"{KEY}" "a:root";', f'"{KEY}" "A:probe";', f'"{KEY}" "a:probe"', "x"],
)
def test_a_malformed_line_is_named_without_its_key(line: str) -> None:
    with pytest.raises(KeyFileError, match="line 2 ") as refused:
        parse_keys(f"# keys\n{line}\n")
    assert KEY not in str(refused.value)


def _forbidden(answer: dict[str, Any] | list[Any]) -> bool:
    errors = answer if isinstance(answer, list) else answer.get("errors", [])
    return any(error["extensions"]["code"] == "FORBIDDEN" for error in errors)
