"""Who may pass to graph, and as whom graph gets to see them."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from speedtrap_graph.http import keyfile
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway.conftest import KEYS
from tests.lab.nginx import Gateway, running_gateway

pytestmark = pytest.mark.gateway

CALLER = "x-speedtrap-caller"
KEY_HEADERS = {"x-api-key", "authorization", "auth"}

Headers = list[tuple[str, str]]


def reached(answer: httpx.Response) -> Headers:
    """The headers that the upstream got."""
    assert answer.status_code == 200, answer.text
    return [(name, value) for name, value in answer.json()["headers"]]


def values(headers: Headers, name: str) -> list[str]:
    """Every value under *name* in any spelling that a careless upstream might take for it."""
    return [value for key, value in headers if key.lower().replace("_", "-") == name]


async def websocket_headers(gateway: Gateway, path: str, sent: Headers) -> Headers:
    """Opens a WebSocket through *gateway*; answers with what the upstream got."""
    url = f"ws://127.0.0.1:{gateway.port}{path}"
    async with connect(url, additional_headers=sent, proxy=None) as socket:
        return [(name, value) for name, value in json.loads(await socket.recv())["headers"]]


@pytest.mark.parametrize(
    "sent",
    [
        {"X-API-Key": KEYS.probe},
        {"x-api-key": KEYS.probe},
        {"Authorization": f"Bearer {KEYS.probe}"},
        {"Authorization": f"bearer  {KEYS.probe}"},
        {"auth": KEYS.probe},
    ],
    ids=["X-API-Key", "lower case", "bearer", "bearer, careless", "older auth"],
)
def test_a_known_key_passes_as_its_caller_and_stays_at_the_gateway(
    gateway: Gateway, sent: dict[str, str]
) -> None:
    headers = reached(httpx.post(f"{gateway.url}/graphql", headers=sent, content=b"{}"))
    assert values(headers, CALLER) == ["laptop:probe"]
    assert not KEY_HEADERS & {name.lower() for name, _ in headers}
    assert KEYS.probe not in str(headers)


def test_web_and_bots_are_checked_the_same_way_on_the_inner_port(gateway: Gateway) -> None:
    url = f"{gateway.internal_url}/graphql"
    headers = reached(httpx.post(url, headers={"X-API-Key": KEYS.viewer}))
    assert values(headers, CALLER) == ["page:viewer"]
    assert httpx.post(url, headers={CALLER: "page:viewer"}).status_code == 401


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEYS.unknown},
        {"X-API-Key": "default"},
        {"X-API-Key": KEYS.probe[:-1]},
        {"Authorization": KEYS.probe},
        {"Authorization": f"Basic {KEYS.probe}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"auth={KEYS.probe}"},
        {"X_API_Key": KEYS.probe},
    ],
    ids=str,
)
def test_without_a_known_key_the_answer_is_401_in_json(
    gateway: Gateway, sent: dict[str, str]
) -> None:
    answer = httpx.post(f"{gateway.url}/graphql", headers=sent, content=b"{}")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
    assert "X-API-Key" in answer.json()["error"]["message"]


@pytest.mark.parametrize("change", [str.lower, str.upper, str.swapcase])
def test_a_key_counts_letter_by_letter(gateway: Gateway, change: Callable[[str], str]) -> None:
    answer = httpx.post(f"{gateway.url}/graphql", headers={"X-API-Key": change(KEYS.probe)})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "line",
    [
        "include /etc/passwd;",
        'default "operator:admin";',
        '"~." "operator:admin";',
        '"" "operator:admin";',
        '"short" "operator:admin";',
        '"a-key-with-a-$remote_addr" "operator:admin";',
        '"a-key-of-sixteen" "operator:admin"; } server { listen 1;',
        '"a-key-of-sixteen" "operator:king";',
        '"a-key-of-sixteen" "operator:admin";\n"A-KEY-of-sixteen" "laptop:probe";',
    ],
)
def test_a_key_file_is_data_and_no_configuration(
    tmp_path: Path, speed_dir: Path, echo_url: str, line: str
) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    (folder / "api_keys").write_text(f"{line}\n", encoding="utf-8")
    with (
        pytest.raises(RuntimeError, match=r"api_keys, line [12]:"),
        running_gateway(folder, echo_url, echo_url, speed_dir),
    ):
        pass


def test_a_key_in_the_address_is_no_key(gateway: Gateway) -> None:
    url = f"{gateway.url}/graphql?X-API-Key={KEYS.probe}&auth={KEYS.probe}"
    assert httpx.post(url).status_code == 401


@pytest.mark.parametrize("sent", [[], [("X-API-Key", KEYS.unknown)], [(CALLER, "operator:admin")]])
async def test_a_websocket_without_a_known_key_is_denied_at_the_handshake(
    gateway: Gateway, sent: Headers
) -> None:
    with pytest.raises(InvalidStatus) as denied:
        await websocket_headers(gateway, "/graphql", sent)
    answer = denied.value.response
    assert answer.status_code == 401
    assert b"UNAUTHENTICATED" in (answer.body or b"")


SPOOFS: list[Headers] = [
    [("X-Speedtrap-Caller", "operator:admin")],
    [("x-speedtrap-caller", "operator:admin")],
    [("X-SPEEDTRAP-CALLER", "operator:admin")],
    [("X_Speedtrap_Caller", "operator:admin")],
    [("X-Speedtrap_Caller", "operator:admin")],
    [("X-Speedtrap-Caller", "operator:admin"), ("X-Speedtrap-Caller", "operator:admin")],
    [("X-Speedtrap-Caller", "operator:admin"), ("X_Speedtrap_Caller", "operator:admin")],
    [("X-Speedtrap-Caller", "operator:admin"), ("Connection", "X-Speedtrap-Caller")],
    [("X-Speedtrap-Caller", "")],
]


@pytest.mark.parametrize("spoof", SPOOFS, ids=str)
def test_a_caller_header_of_the_client_never_arrives(gateway: Gateway, spoof: Headers) -> None:
    url = f"{gateway.url}/graphql"
    assert httpx.post(url, headers=spoof).status_code == 401
    headers = reached(httpx.post(url, headers=[*spoof, ("X-API-Key", KEYS.probe)]))
    assert values(headers, CALLER) == ["laptop:probe"]
    assert "operator" not in str(headers)


@pytest.mark.parametrize("path", ["/", "/login", "/readyz", "/graphql/", "/GraphQL"])
@pytest.mark.parametrize("spoof", SPOOFS, ids=str)
def test_nor_does_it_arrive_where_no_key_is_needed(
    gateway: Gateway, path: str, spoof: Headers
) -> None:
    headers = reached(httpx.get(f"{gateway.url}{path}", headers=spoof))
    assert values(headers, CALLER) == []
    assert "operator" not in str(headers)


@pytest.fixture(scope="module")
def trusted(
    tmp_path_factory: pytest.TempPathFactory, speed_dir: Path, echo_url: str
) -> Iterator[Gateway]:
    """One that shares a secret with graph."""
    folder = tmp_path_factory.mktemp("trusted")
    (folder / "gateway_secret").write_text(f"{SECRET}\n", encoding="utf-8")
    with running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known()) as server:
        yield server


SECRET = "planted-gateway-secret_6hK2mQ9x"
PROOF = "x-speedtrap-gateway"


@pytest.mark.parametrize("guess", [{}, {"X-Speedtrap-Gateway": "planted-guess"}], ids=str)
def test_graph_alone_is_told_the_secret_by_which_it_knows_the_gateway(
    trusted: Gateway, guess: dict[str, str]
) -> None:
    sent = {"X-API-Key": KEYS.probe, **guess}
    for method, path in (("POST", "/graphql"), ("GET", "/export/runs.csv"), ("GET", "/readyz")):
        headers = reached(httpx.request(method, f"{trusted.url}{path}", headers=sent))
        assert values(headers, PROOF) == [SECRET]
    figures = httpx.get(f"http://127.0.0.1:{trusted.metrics_port}/metrics", headers=guess)
    assert values(reached(figures), PROOF) == [SECRET]
    for path in ("/", "/login"):
        assert values(reached(httpx.post(f"{trusted.url}{path}", headers=sent)), PROOF) == []
    assert SECRET not in trusted.access_log() + trusted.error_log()


async def test_it_is_told_by_websocket_too(trusted: Gateway) -> None:
    headers = await websocket_headers(trusted, "/graphql", [("X-API-Key", KEYS.probe)])
    assert values(headers, PROOF) == [SECRET]


@pytest.mark.parametrize("text", ["", "too-short", f'{SECRET}"; return 200; #', f"{SECRET}\nmore"])
def test_a_secret_that_is_none_keeps_the_gateway_from_starting(
    tmp_path: Path, speed_dir: Path, echo_url: str, text: str
) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    (folder / "gateway_secret").write_text(text, encoding="utf-8")
    with (
        pytest.raises(RuntimeError, match="gateway_secret: not one line of") as refused,
        running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known()),
    ):
        pass
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("spoof", SPOOFS, ids=str)
async def test_nor_does_it_arrive_by_websocket(gateway: Gateway, spoof: Headers) -> None:
    spoof = [pair for pair in spoof if pair[0] != "Connection"]
    sent = [*spoof, ("Authorization", f"Bearer {KEYS.viewer}")]
    headers = await websocket_headers(gateway, "/graphql", sent)
    assert values(headers, CALLER) == ["page:viewer"]
    assert "operator" not in str(headers)
    assert not KEY_HEADERS & {name.lower() for name, _ in headers}


async def test_there_is_no_websocket_beside_graphql(gateway: Gateway) -> None:
    with pytest.raises(websockets.WebSocketException):
        await websocket_headers(gateway, "/", [("X-API-Key", KEYS.admin)])


def test_only_websocket_upgrades_are_passed_on(gateway: Gateway) -> None:
    sent = {
        "X-API-Key": KEYS.probe,
        "Upgrade": "h2c",
        "Connection": "Upgrade, HTTP2-Settings",
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
    }
    headers = reached(httpx.post(f"{gateway.url}/graphql", headers=sent))
    assert values(headers, "upgrade") == []
    assert values(headers, "connection") in ([], ["close"])


def test_the_client_cannot_choose_its_own_address(gateway: Gateway) -> None:
    sent = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "Host": "home.example:81"}
    headers = reached(httpx.get(f"{gateway.url}/", headers=sent))
    assert values(headers, "x-forwarded-for") == ["127.0.0.1"]
    assert values(headers, "x-forwarded-proto") == ["http"]
    assert values(headers, "host") == ["home.example:81"]


def becomes(wanted: int, ask: Callable[[], Any]) -> bool:
    """Asks until the status is *wanted*; a reload takes its moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if ask().status_code == wanted:
            return True
        time.sleep(0.05)
    return False


def test_a_changed_key_file_counts_without_a_restart(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    folder = tmp_path / "gateway"
    with running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known()) as gateway:
        assert gateway.process is not None
        master = gateway.process.pid

        def ask(key: str) -> httpx.Response:
            return httpx.post(f"{gateway.url}/graphql", headers={"X-API-Key": key})

        assert ask(KEYS.probe).status_code == 200
        gateway.write_keys({KEYS.viewer: "page:viewer", KEYS.unknown: "attic:probe"})
        assert becomes(401, lambda: ask(KEYS.probe)), "a revoked key is refused"
        assert becomes(200, lambda: ask(KEYS.unknown)), "an added key passes"

        # What cannot be read takes nobody's key away.
        gateway.keys_file.write_text(f'"{KEYS.admin}" "operator', encoding="utf-8")
        assert becomes_logged(gateway, "the old stays in force")
        assert ask(KEYS.unknown).status_code == 200
        assert ask(KEYS.admin).status_code == 401

        gateway.write_keys({KEYS.admin: "operator:admin"})
        assert becomes(200, lambda: ask(KEYS.admin))
        assert gateway.process.poll() is None
        assert gateway.process.pid == master


def test_what_the_keys_command_writes_arrives_in_a_container_that_has_mounted_the_file(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    secrets = tmp_path / "api_keys"
    revoked = keyfile.add(secrets, "laptop", "probe")
    folder = tmp_path / "gateway"
    folder.mkdir()
    # A mounted file is the same file under a second name: a new one under the first is not seen.
    (folder / "api_keys").hardlink_to(secrets)
    with running_gateway(folder, echo_url, echo_url, speed_dir) as gateway:

        def ask(entry: keyfile.Entry) -> httpx.Response:
            return httpx.post(f"{gateway.url}/graphql", headers={"X-API-Key": entry.key})

        assert ask(revoked).status_code == 200
        added = keyfile.add(secrets, "pi-attic", "probe")
        assert becomes(200, lambda: ask(added))
        keyfile.revoke(secrets, "laptop")
        assert becomes(401, lambda: ask(revoked))
        assert ask(added).status_code == 200


def becomes_logged(gateway: Gateway, text: str) -> bool:
    log = gateway.folder / "entrypoint.log"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if text in log.read_text(encoding="utf-8"):
            return True
        time.sleep(0.05)
    return False


def test_keys_are_in_no_log(gateway: Gateway) -> None:
    url = f"{gateway.url}/graphql"
    sent: list[dict[str, str]] = [
        {"X-API-Key": KEYS.admin},
        {"X-API-Key": KEYS.unknown},
        {"Authorization": f"Bearer {KEYS.admin}"},
        {"auth": KEYS.admin},
        {"X_API_Key": KEYS.admin},
        {"X-Speedtrap-Caller": KEYS.admin},
    ]
    for headers in sent:
        httpx.post(url, headers=headers)
    httpx.post(url, headers={"X-API-Key": KEYS.admin}, content=bytes(9_000_000))
    httpx.get(f"{gateway.url}/login?key={KEYS.admin}")
    httpx.post(f"{url}?X-API-Key={KEYS.admin}", headers={"X-API-Key": KEYS.unknown})
    for path in ("shared", "/shared", "SHARED"):
        httpx.get(f"{gateway.url}/{path}/{KEYS.admin}/report.pdf")
    assert becomes(200, lambda: httpx.get(f"{gateway.url}/the-last"))
    access = gateway.access_log()
    assert '"path":"/the-last"' in access
    assert access.count('"path":"/shared/..."') == 3
    assert '"caller":"operator:admin"' in access
    assert "planted" not in access
    assert "planted" not in gateway.error_log()


def test_a_key_that_is_revoked_while_the_gateway_starts_is_no_key(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    """After the keys were read, and before anybody watches them."""
    with running_gateway(
        tmp_path / "gateway", echo_url, echo_url, speed_dir, KEYS.known()
    ) as gateway:
        gateway.stop()
        between = f"printf '\"{KEYS.viewer}\" \"page:viewer\";' > '{gateway.keys_file}'"
        gateway.start(between)
        deadline = time.monotonic() + 60
        sent = {"X-API-Key": KEYS.probe}
        while httpx.post(f"{gateway.url}/graphql", headers=sent).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        headers = {"X-API-Key": KEYS.viewer}
        assert httpx.post(f"{gateway.url}/graphql", headers=headers).status_code == 200
