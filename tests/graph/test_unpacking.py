"""Bodies out of gzip, and bombs that do not go off."""

import asyncio
import gzip
import tracemalloc

import pytest
from speedtrap_graph.http.unpacking import BadGzipError, TooLargeError, Unpacking
from starlette.types import Message

LIMIT = 100_000


async def unpacked(*chunks: bytes, packed: bool = True) -> bytes:
    """What an app behind it would read."""
    left = list(chunks)

    async def receive() -> Message:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    reader = Unpacking(receive, LIMIT, packed)
    found: bytes = b""
    while True:
        message = await reader()
        found += message["body"]
        if not message["more_body"]:
            return found


async def test_a_body_comes_out_as_it_went_in_however_it_is_cut() -> None:
    text = b"a run" * 1000
    packed = gzip.compress(text)
    assert await unpacked(packed) == text
    assert await unpacked(*(packed[at : at + 7] for at in range(0, len(packed), 7))) == text
    assert await unpacked(text, packed=False) == text


async def test_a_bomb_costs_no_more_memory_than_an_honest_body() -> None:
    bomb = gzip.compress(bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        await unpacked(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * LIMIT


async def test_the_limit_is_what_it_grows_to() -> None:
    assert len(await unpacked(gzip.compress(bytes(LIMIT)))) == LIMIT
    for body, packed in ((gzip.compress(bytes(LIMIT + 1)), True), (bytes(LIMIT + 1), False)):
        with pytest.raises(TooLargeError):
            await unpacked(body, packed=packed)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"more"],
    ids=["nothing", "plain", "cut off", "with more behind it"],
)
async def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadGzipError):
        await unpacked(body)


async def test_a_body_that_does_not_end_is_given_up() -> None:
    ended: list[bool] = []

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    reader = Unpacking(
        receive, LIMIT, packed=False, complete=lambda: ended.append(True), within_s=0.2
    )
    with pytest.raises(TimeoutError):
        await all_of(reader)
    assert ended == []
    reader.end()
    reader.end()
    assert ended == [True]


async def all_of(reader: Unpacking) -> None:
    while True:
        await reader()


async def test_once_a_body_is_there_nothing_ends_the_wait_for_the_client_to_go() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"x"},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return messages.pop(0)

    reader = Unpacking(receive, LIMIT, packed=False, within_s=0.08)
    assert (await reader())["body"] == b"x"
    assert (await reader())["type"] == "http.disconnect"
