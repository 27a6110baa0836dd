"""Who asks too often or too slowly is held back, and nobody else."""

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway.conftest import KEYS
from tests.gateway.test_doors import is_json_error
from tests.lab.guesser import start_guesser, told_by
from tests.lab.nginx import Gateway, running_gateway

pytestmark = pytest.mark.gateway

LIMITS = {
    "KEY_RATE": "1r/s",
    "KEY_BURST": "5",
    "KEY_CONNECTIONS": "3",
    "LOGIN_RATE": "1r/m",
    "LOGIN_BURST": "3",
    "STRANGER_RATE": "1r/s",
    "STRANGER_BURST": "5",
}
A_MINUTE_OF_TRIES = 40


@pytest.fixture
def strict(tmp_path: Path, speed_dir: Path, echo_url: str) -> Iterator[Gateway]:
    """Fresh for each test: what one has used up is missed by the next."""
    folder = tmp_path / "strict"
    with running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known(), **LIMITS) as server:
        yield server


def statuses(gateway: Gateway, key: str, tries: int = A_MINUTE_OF_TRIES) -> list[int]:
    url = f"{gateway.url}/graphql"
    with httpx.Client(headers={"X-API-Key": key}) as client:
        return [client.post(url, content=b"{}").status_code for _ in range(tries)]


def test_a_key_that_asks_too_often_is_429_and_the_others_are_served(strict: Gateway) -> None:
    seen = statuses(strict, KEYS.probe)
    assert seen[:6] == [200] * 6
    assert set(seen) == {200, 429}
    answer = httpx.post(f"{strict.url}/graphql", headers={"X-API-Key": KEYS.probe})
    assert is_json_error(answer, 429, "TOO_MANY_REQUESTS")
    assert answer.headers["retry-after"] == "5"
    assert statuses(strict, KEYS.viewer, 5) == [200] * 5


def test_who_guesses_keys_is_held_back_and_good_keys_from_the_same_house_are_not(
    strict: Gateway,
) -> None:
    seen = statuses(strict, KEYS.unknown)
    assert seen[:6] == [401] * 6
    assert set(seen) == {401, 429}
    assert seen.count(429) > A_MINUTE_OF_TRIES / 2
    assert statuses(strict, KEYS.admin, 5) == [200] * 5


def test_logging_in_is_tried_a_few_times_only_and_reading_goes_on(strict: Gateway) -> None:
    tries = [httpx.post(f"{strict.url}/login", data={"key": "x"}) for _ in range(10)]
    assert [answer.status_code for answer in tries[:4]] == [200] * 4
    assert is_json_error(tries[-1], 429, "TOO_MANY_REQUESTS")
    assert httpx.get(f"{strict.url}/login").status_code == 200
    assert httpx.get(f"{strict.url}/").status_code == 200


def test_an_address_that_asks_too_often_is_429_whatever_it_asks(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    limits = {"ADDRESS_RATE": "1r/s", "ADDRESS_BURST": "4"}
    with (
        running_gateway(tmp_path, echo_url, echo_url, speed_dir, KEYS.known(), **limits) as strict,
        httpx.Client(base_url=strict.url) as one,
        httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other,
    ):
        assert [one.get("/").status_code for _ in range(10)].count(429) >= 4
        assert one.post("/graphql", headers={"X-API-Key": KEYS.probe}).status_code == 429
        assert other.get(f"{strict.url}/").status_code == 200
        # Web asks for all its visitors on the inner port, which counts nothing.
        inner = [httpx.get(f"{strict.internal_url}/").status_code for _ in range(20)]
        assert inner == [200] * 20


async def test_a_key_may_hold_only_so_many_subscriptions(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    with running_gateway(tmp_path, echo_url, echo_url, speed_dir, KEYS.known(), **LIMITS) as strict:
        url = f"ws://127.0.0.1:{strict.port}/graphql?stay=1"
        bearer = {"Authorization": f"Bearer {KEYS.viewer}"}
        opened = [
            await connect(url, additional_headers=bearer, proxy=None)
            for _ in range(int(LIMITS["KEY_CONNECTIONS"]))
        ]
        with pytest.raises(InvalidStatus) as denied:
            await connect(url, additional_headers=bearer, proxy=None)
        assert denied.value.response.status_code == 429
        await asyncio.gather(*(one.close() for one in opened))


async def test_an_address_may_hold_only_so_many_connections_whatever_its_keys(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    limits = {"ADDRESS_CONNECTIONS": "3"}
    with running_gateway(tmp_path, echo_url, echo_url, speed_dir, KEYS.known(), **limits) as strict:
        url = f"ws://127.0.0.1:{strict.port}/graphql?stay=1"

        def knock(key: str, host: str = "127.0.0.1") -> connect:
            headers = {"X-API-Key": key}
            return connect(url, additional_headers=headers, proxy=None, local_addr=(host, 0))

        opened = [await knock(key) for key in (KEYS.probe, KEYS.viewer, KEYS.admin)]
        with pytest.raises(InvalidStatus) as denied:
            await knock(KEYS.admin)
        assert denied.value.response.status_code == 429
        opened.append(await knock(KEYS.admin, host="127.0.0.2"))
        await asyncio.gather(*(one.close() for one in opened))


def test_a_large_answer_of_graph_leaves_packed_and_a_small_one_as_it_is(gateway: Gateway) -> None:
    def ask(padding: int) -> tuple[str | None, bytes]:
        headers = {"X-API-Key": KEYS.probe, "Accept-Encoding": "gzip", "X-Padding": "y" * padding}
        with httpx.stream("POST", f"{gateway.url}/graphql", headers=headers) as answer:
            raw = b"".join(answer.iter_raw())
            return answer.headers.get("content-encoding"), raw

    encoding, packed = ask(4000)
    assert encoding == "gzip"
    assert "y" * 4000 in str(json.loads(gzip.decompress(packed)))
    encoding, plain = ask(1)
    assert encoding is None
    assert json.loads(plain)["path"] == "/graphql"


def test_the_door_is_open_by_ipv6_too(gateway: Gateway) -> None:
    url = f"http://[::1]:{gateway.port}"
    assert httpx.get(f"{url}/speed/getIP").json()["processedString"] == "::1"
    assert httpx.post(f"{url}/graphql", headers={"X-API-Key": KEYS.probe}).status_code == 200


def test_prometheus_has_a_door_of_its_own_with_figures_and_nothing_else(gateway: Gateway) -> None:
    door = f"http://127.0.0.1:{gateway.metrics_port}"
    headers = {"X-Speedtrap-Caller": "operator:admin", "X-API-Key": KEYS.admin}
    answer = httpx.get(f"{door}/metrics", headers=headers)
    assert answer.json()["path"] == "/metrics"
    assert "operator" not in answer.text
    assert KEYS.admin not in answer.text
    for path in ("/graphql", "/", "/metrics/x", "/export/runs.ndjson"):
        assert httpx.post(f"{door}{path}", headers=headers).status_code == 404


async def answered(port: int, sent: bytes) -> int:
    """The status that *sent* gets on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def again_and_again(port: int, sent: bytes, done: asyncio.Event) -> set[int]:
    """Every status seen until *done*."""
    seen = set()
    while not done.is_set():
        seen.add(await answered(port, sent))
    return seen


def a_post(key: str, length: int) -> bytes:
    lines = ("POST /graphql HTTP/1.1", "Host: x", f"X-API-Key: {key}", f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def slow_senders(port: int, count: int) -> Iterator[None]:
    """Connections that have begun a request and do not go on with it."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(b"POST /graphql HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        yield


async def test_good_clients_are_served_while_bad_ones_do_their_worst(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    """Slow senders, wrong keys, what is too large and what is no request, all at once."""
    limits = {"STRANGER_RATE": "1r/s", "STRANGER_BURST": "20"}
    wrong, large, rubbish = a_post(KEYS.unknown, 0), a_post(KEYS.viewer, 9**10), b"nonsense\r\n\r\n"
    with (
        running_gateway(tmp_path, echo_url, echo_url, speed_dir, KEYS.known(), **limits) as server,
        slow_senders(server.port, 300),
    ):
        done = asyncio.Event()
        bad = [
            asyncio.create_task(again_and_again(server.port, sent, done))
            for sent in (wrong, wrong, wrong, wrong, large, rubbish)
        ]
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            good = {"X-API-Key": KEYS.probe}
            answers = [await client.post("/graphql", headers=good) for _ in range(60)]
        done.set()
        seen = await asyncio.gather(*bad)
    assert {answer.status_code for answer in answers} == {200}
    assert set.union(*seen[:4]) == {401, 429}
    assert seen[4:] == [{413}, {400}]


def test_ten_thousand_guesses_cost_the_good_ones_no_answer(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    """Each another key, as fast as they come, from the address of the good ones."""
    limits = {"STRANGER_RATE": "1r/s", "STRANGER_BURST": "20"}
    with (
        running_gateway(tmp_path, echo_url, echo_url, speed_dir, KEYS.known(), **limits) as server,
        httpx.Client(base_url=server.url, headers={"X-API-Key": KEYS.probe}, timeout=30) as client,
    ):
        guesser = start_guesser(server.port, 10_000, 10_000)
        seen = set()
        while guesser.poll() is None:
            seen.add(client.post("/graphql").status_code)
        statuses, _ = told_by(guesser)
        assert seen == {200}
        assert sum(statuses.values()) == 10_000
        assert statuses[401] < 100
        assert statuses[429] > 9_900
        assert client.post("/graphql").status_code == 200
