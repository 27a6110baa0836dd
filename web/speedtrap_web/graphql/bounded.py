"""Answers of an HTTP client that are read up to a limit and no further, and never unpacked."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx

LARGEST_ANSWER_BYTES = 32 * 2**20
"""A notice with everything that may be attached to it takes a quarter of it."""


class OversizedAnswerError(httpx.TransportError):
    """The answer is larger than allowed, or packed, so that its size cannot be known."""


def bounded(largest_bytes: int = LARGEST_ANSWER_BYTES) -> dict[str, list[Any]]:
    """Event hooks of an `httpx.AsyncClient`: they run before the first byte of a body is read."""

    async def ask_for_plain(request: httpx.Request) -> None:
        request.headers["Accept-Encoding"] = "identity"

    async def bound(response: httpx.Response) -> None:
        packing = response.headers.get("Content-Encoding", "identity")
        if packing.strip().lower() != "identity":
            raise OversizedAnswerError("the answer is packed, which was not asked for")
        stream = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Bounded(stream, largest_bytes)

    return {"request": [ask_for_plain], "response": [bound]}


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise OversizedAnswerError("the answer is larger than allowed")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
