"""/speed/: LibreSpeed's three paths, with and without .php, bounded and without a trace."""

import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.lab.mongo import free_port
from tests.web.serving import served_page

MIB = 1 << 20


@pytest.fixture(scope="module")
def speed() -> Iterator[str]:
    with served_page(f"http://127.0.0.1:{free_port()}") as url:
        yield f"{url}/speed"


@pytest.mark.parametrize(
    ("query", "size"),
    [("", 4 * MIB), ("?ckSize=1", MIB), ("?ckSize=0", MIB), ("?ckSize=3", 3 * MIB)],
)
@pytest.mark.parametrize("suffix", ["", ".php"])
def test_garbage_is_as_long_as_asked_for(speed: str, suffix: str, query: str, size: int) -> None:
    answer = httpx.get(f"{speed}/garbage{suffix}{query}", headers={"Accept-Encoding": "gzip, br"})
    assert len(answer.content) == size
    assert answer.headers["content-length"] == str(size)
    assert "content-encoding" not in answer.headers
    assert "no-store" in answer.headers["cache-control"]


def test_garbage_is_bounded(speed: str) -> None:
    with httpx.stream("GET", f"{speed}/garbage?ckSize=999999999999") as answer:
        assert answer.headers["content-length"] == str(1024 * MIB)


@pytest.mark.parametrize("size", ["-1", "many", "1.5", "\u0661"])
def test_a_bad_size_is_named(speed: str, size: str) -> None:
    answer = httpx.get(f"{speed}/garbage", params={"ckSize": size})
    assert answer.status_code == 400
    assert answer.text.startswith("ckSize: must be a whole number")


def test_garbage_does_not_compress(speed: str) -> None:
    piece = httpx.get(f"{speed}/garbage?ckSize=1").content
    assert len(zlib.compress(piece)) >= len(piece)


@pytest.mark.parametrize("path", ["empty", "empty.php"])
def test_empty_swallows_what_comes(speed: str, path: str) -> None:
    ping = httpx.get(f"{speed}/{path}")
    upload = httpx.post(f"{speed}/{path}", content=bytes(5 * MIB))
    assert (ping.status_code, ping.content) == (200, b"")
    assert (upload.status_code, upload.content) == (200, b"")


def test_an_asker_learns_its_own_address(speed: str) -> None:
    assert httpx.get(f"{speed}/getIP").json()["processedString"] == "127.0.0.1"


def test_the_endpoint_can_be_left_to_nginx() -> None:
    with served_page(f"http://127.0.0.1:{free_port()}", speed_endpoint=False) as url:
        assert httpx.get(f"{url}/speed/empty").status_code == 404
