"""`speedtrap plan` reads the service's answer up to a limit, and tells a strange one in words."""

import pytest

from speedtrap_up.api import ANSWER_LIMIT, ask
from speedtrap_up.errors import UpError
from tests.lab.flood import ENDLESS, Flood

IN_SOCKET_BUFFERS = 16 * 2**20
STRANGE: dict[str, bytes] = {
    "a number": b"5",
    "a list": b"[]",
    "errors in an object": b'{"errors": {"message": "x"}}',
    "errors that are text": b'{"errors": ["x"]}',
    "an error with extensions in a list": b'{"errors": [{"message": "x", "extensions": [1]}]}',
    "an error that allows a number": b'{"errors": [{"extensions": {"allowed": [1, 2]}}]}',
    "no data": b'{"data": null}',
    "deep JSON": b"[" * 200_000,
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_without_end_is_read_up_to_the_limit(what: str) -> None:
    with Flood(ENDLESS[what]).serving() as flood:
        with pytest.raises(UpError, match="larger than"):
            ask(flood.url, "a-key", "plans", {})
        assert flood.sent_bytes[0] < ANSWER_LIMIT + IN_SOCKET_BUFFERS


def test_a_packed_answer_is_not_unpacked() -> None:
    with Flood.packed().serving() as flood, pytest.raises(UpError):
        ask(flood.url, "a-key", "plans", {})


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_answer_is_told_in_a_sentence(what: str) -> None:
    with Flood.saying(STRANGE[what]).serving() as flood, pytest.raises(UpError):
        ask(flood.url, "a-key", "plans", {})
