"""Whatever stands where graph should, the page reads its answer up to a limit and says so."""

import httpx
import pytest
from speedtrap_web.graphql.bounded import LARGEST_ANSWER_BYTES

from tests.lab.flood import ENDLESS, Flood
from tests.web.serving import served_page

IN_SOCKET_BUFFERS = 16 * 2**20
STRANGE: dict[str, bytes] = {
    "a number": b"5",
    "errors in an object": b'{"errors": {"message": "x"}}',
    "errors that are text": b'{"errors": ["x"]}',
    "an error with extensions in a list": b'{"errors": [{"message": "x", "extensions": [1]}]}',
    "deep JSON": b"[" * 200_000,
    "a number of a million digits": b"9" * 1_000_000,
    "no UTF-8": b'{"data": "\xff"}',
    "a half character": b'{"errors": [{"message": "\\ud800"}]}',
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_without_end_is_read_up_to_the_limit_and_the_page_says_so(what: str) -> None:
    with (
        Flood(ENDLESS[what]).serving() as flood,
        served_page(flood.url, graph_timeout_s=60) as page,
    ):
        answer = httpx.get(page, timeout=90)
        assert answer.status_code == 503
        assert "no GraphQL response" in answer.text
        assert flood.sent_bytes[0] < LARGEST_ANSWER_BYTES + IN_SOCKET_BUFFERS


def test_a_packed_answer_is_not_unpacked() -> None:
    with Flood.packed().serving() as flood, served_page(flood.url) as page:
        answer = httpx.get(page, timeout=90)
        assert answer.status_code == 503
        assert "no GraphQL response" in answer.text


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_answer_is_no_error_of_ours(what: str) -> None:
    with Flood.saying(STRANGE[what]).serving() as flood, served_page(flood.url) as page:
        for path in ("/", "/api/q/changes"):
            assert httpx.get(f"{page}{path}", timeout=90).status_code == 503
