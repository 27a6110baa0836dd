"""Which names `speedtrap up` answers to."""

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from speedtrap_up.hosts import KnownHosts, is_known


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:8080", "192.168.1.10", "[::1]:8080",
     "[fe80::1%25eth0]", "raspberrypi", "raspberrypi.local:8080", "nas.home.arpa",
     "speed.example.org", "Speed.Example.org:443"],
)  # fmt: skip
def test_addresses_local_names_and_the_operators_own_are_known(host: str) -> None:
    assert is_known(host, {"speed.example.org"})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
     "speed.example.org.evil.example", "1.2.3", "evil.example:80:80", "local.example"],
)  # fmt: skip
def test_a_name_that_a_stranger_may_have_resolved_is_not(host: str) -> None:
    assert not is_known(host, {"speed.example.org"})


async def test_a_page_elsewhere_reads_nothing_by_its_own_name() -> None:
    app = KnownHosts(PlainTextResponse("secret"), frozenset({"speed.example.org"}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as client:
        refused = await client.get("/")
        assert refused.status_code == httpx.codes.MISDIRECTED_REQUEST
        assert "SPEEDTRAP_WEB_ALLOWED_HOSTS" in refused.json()["error"]["message"]
        allowed = await client.get("/", headers={"Host": "speed.example.org"})
        assert allowed.text == "secret"


async def test_nor_does_its_socket_open() -> None:
    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Message] = []
    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
    await KnownHosts(PlainTextResponse("secret"), frozenset())(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
