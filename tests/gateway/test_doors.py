"""What the gateway serves beside graph: health, /speed/, certificates, and its errors in JSON."""

import io
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools.lan import TOOL

from tests.gateway.conftest import KEYS
from tests.lab.mongo import free_port
from tests.lab.nginx import SOURCES, Gateway, running_gateway

pytestmark = pytest.mark.gateway

MIB = 1 << 20
KEY = {"X-API-Key": KEYS.probe}


@pytest.fixture(scope="module")
def lonely_gateway(tmp_path_factory: pytest.TempPathFactory, speed_dir: Path) -> Iterator[Gateway]:
    """Nothing listens behind it."""
    folder = tmp_path_factory.mktemp("lonely")
    nobody = f"http://127.0.0.1:{free_port()}"
    with running_gateway(folder, nobody, nobody, speed_dir, KEYS.known()) as server:
        yield server


def test_the_image_sets_every_variable_of_the_templates(gateway: Gateway) -> None:
    """What a test fills in, the image must know too; otherwise it would not start."""
    in_image = set(re.findall(r"\b(SPEEDTRAP_GATEWAY_\w+)=", (SOURCES / "Dockerfile").read_text()))
    in_templates = {
        name
        for template in (SOURCES / "templates").rglob("*.template")
        for name in re.findall(r"\$\{(SPEEDTRAP_GATEWAY_[A-Z_]+)\}", template.read_text())
    }
    in_scripts = {
        name
        for script in (SOURCES / "entrypoint.d").iterdir()
        for name in re.findall(r"\$(SPEEDTRAP_GATEWAY_\w+)", script.read_text())
    }
    in_test = set(gateway.environment()) - {"NGINX_LOCAL_RESOLVERS"}
    assert in_image == in_test == in_templates | in_scripts


def is_json_error(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["message"]
    return bool(error["code"] == code)


def test_health_is_the_gateways_own_and_readiness_is_graphs(lonely_gateway: Gateway) -> None:
    assert httpx.get(f"{lonely_gateway.url}/healthz").json() == {"status": "ok"}
    assert is_json_error(httpx.get(f"{lonely_gateway.url}/readyz"), 502, "BAD_GATEWAY")


def test_readiness_is_asked_of_graph(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.url}/readyz").json()["path"] == "/readyz"


@pytest.mark.parametrize("path", ["/graphql", "/", "/login"])
def test_an_upstream_that_is_away_is_502_in_json(lonely_gateway: Gateway, path: str) -> None:
    answer = httpx.post(f"{lonely_gateway.url}{path}", headers=KEY)
    assert is_json_error(answer, 502, "BAD_GATEWAY")
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/metrics/graph", "//metrics", "/x/../metrics", "/%6detrics"]
)
def test_metrics_are_not_public(gateway: Gateway, path: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"code": "NOT_FOUND"' in answer


def test_a_body_too_large_is_413_in_json(gateway: Gateway) -> None:
    url = f"{gateway.url}/graphql"
    most = 8 * MIB
    assert httpx.post(url, headers=KEY, content=b"x" * most).json()["length"] == most
    answer = httpx.post(url, headers=KEY, content=b"x" * (most + 1))
    assert is_json_error(answer, 413, "TOO_LARGE")
    # Without a length beforehand, too.
    pieces = (b"x" * MIB for _ in range(9))
    assert is_json_error(httpx.post(url, headers=KEY, content=pieces), 413, "TOO_LARGE")
    answer = httpx.post(f"{gateway.url}/login", content=b"x" * (MIB + 1))
    assert is_json_error(answer, 413, "TOO_LARGE")


def test_headers_and_addresses_beyond_bounds_are_refused_in_json(gateway: Gateway) -> None:
    answer = httpx.get(f"{gateway.url}/", headers={"X-Long": "y" * 9000})
    assert is_json_error(answer, 431, "HEADERS_TOO_LARGE")
    assert is_json_error(httpx.get(f"{gateway.url}/{'y' * 9000}"), 414, "URI_TOO_LONG")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_request_is_400_in_json(gateway: Gateway, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(sent)
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "BAD_REQUEST"' in answer


def test_the_errors_own_addresses_are_not_to_be_had(gateway: Gateway) -> None:
    assert is_json_error(httpx.get(f"{gateway.url}/.speedtrap/401"), 404, "NOT_FOUND")


def test_certbot_finds_its_challenge_served(gateway: Gateway) -> None:
    folder = gateway.folder / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("token.thumbprint", encoding="ascii")
    url = f"{gateway.url}/.well-known/acme-challenge"
    assert httpx.get(f"{url}/token").text == "token.thumbprint"
    assert is_json_error(httpx.get(f"{url}/other"), 404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["garbage", "garbage.php"])
@pytest.mark.parametrize(
    ("query", "mib"),
    [("", 4), ("?ckSize=1", 1), ("?ckSize=3", 4), ("?ckSize=25", 25), ("?ckSize=100&r=0.5", 100)],
)
def test_garbage_is_at_least_what_was_asked_for(
    gateway: Gateway, name: str, query: str, mib: int
) -> None:
    with httpx.stream("GET", f"{gateway.url}/speed/{name}{query}") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "no-store" in answer.headers["cache-control"]
        assert "content-encoding" not in answer.headers
        assert sum(len(piece) for piece in answer.iter_raw()) == mib * MIB


def test_garbage_cannot_be_compressed(gateway: Gateway) -> None:
    body = httpx.get(f"{gateway.url}/speed/garbage?ckSize=1").content
    assert len(zlib.compress(body)) > 0.99 * len(body)


@pytest.mark.parametrize("asked", ["many", "-1", "1.5", "../../api_keys", "%2e%2e/api_keys"])
def test_a_size_that_is_none_is_refused(gateway: Gateway, asked: str) -> None:
    answer = httpx.get(f"{gateway.url}/speed/garbage?ckSize={asked}")
    assert is_json_error(answer, 400, "BAD_REQUEST")


@pytest.mark.parametrize("name", ["empty", "empty.php"])
def test_empty_swallows_an_upload_of_any_size_and_keeps_the_connection(
    gateway: Gateway, name: str
) -> None:
    url = f"{gateway.url}/speed/{name}"
    with httpx.Client() as client:
        assert client.get(url).content == b""
        for size in (0, 1, 64 * MIB):
            answer = client.post(url, content=io.BytesIO(bytes(size)))
            assert (answer.status_code, answer.content) == (200, b"")
        assert client.post(url, content=(bytes(MIB) for _ in range(20))).status_code == 200


def written(gateway: Gateway) -> int:
    """Bytes that NGINX has handed to the kernel so far, to files and to sockets."""
    assert gateway.process is not None
    processes = psutil.Process(gateway.process.pid).children()
    return sum(one.io_counters().write_chars for one in processes if one.name() == "nginx")


def test_an_upload_is_read_and_forgotten_and_never_written_anywhere(gateway: Gateway) -> None:
    before = written(gateway)
    answer = httpx.post(f"{gateway.url}/speed/empty", content=io.BytesIO(bytes(64 * MIB)))
    assert answer.status_code == 200
    assert 0 < written(gateway) - before < MIB
    # Where a body is buffered, it shows.
    httpx.post(f"{gateway.url}/graphql", headers=KEY, content=bytes(4 * MIB))
    assert written(gateway) - before > 4 * MIB


def test_the_probes_own_tool_measures_against_it(gateway: Gateway) -> None:
    figures = TOOL.measure(Setup(service_url=gateway.url, window_s=1.5))
    assert figures.download_mbps is not None
    assert figures.download_mbps > 1
    assert figures.upload_mbps is not None
    assert figures.upload_mbps > 1
    assert figures.latency_ms is not None


def test_getip_tells_the_asker_its_own_address(gateway: Gateway) -> None:
    answer = httpx.get(f"{gateway.url}/speed/getIP.php")
    assert answer.json() == {"processedString": "127.0.0.1", "rawIspInfo": ""}


def test_nothing_else_is_served_below_speed(gateway: Gateway) -> None:
    for path in ("/speed/", "/speed/1.bin", "/speed/garbage/../1.bin"):
        assert httpx.get(f"{gateway.url}{path}").status_code == 404


def test_every_other_address_is_webs(gateway: Gateway) -> None:
    answer = httpx.post(f"{gateway.url}/approve?notice=1", content=b"abc").json()
    assert (answer["method"], answer["path"], answer["length"]) == ("POST", "/approve", 3)
