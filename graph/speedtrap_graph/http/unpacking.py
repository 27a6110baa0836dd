"""A request's body, as large as it may be and no larger: as it comes, or out of gzip.

What a compressed body grows to counts, and it is never unpacked further than the limit: a bomb of a
few kilobytes costs no more memory than an honest request.
"""

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Message, Receive

GZIP = 16 + zlib.MAX_WBITS


BODY_WITHIN_S = 60.0
"""A batch of the largest size over a line of 1 Mbps."""


class TooLargeError(Exception):
    """The body has grown beyond the limit."""


class BadGzipError(Exception):
    """The body is no gzip; its text is for the caller."""


@dataclass
class Unpacking:
    """Stands where `receive` stood. TimeoutError when the body takes too long; *complete* is called
    once, when it is there or `end` says that nobody reads it any more.
    """

    receive: Receive
    left: int
    packed: bool
    complete: Callable[[], None] = lambda: None
    within_s: float = BODY_WITHIN_S
    _deadline: float | None = None
    _ended: bool = False
    _inflate: "zlib._Decompress" = field(default_factory=lambda: zlib.decompressobj(GZIP))

    async def __call__(self) -> Message:
        if self._ended:
            return await self.receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self.within_s
        async with asyncio.timeout_at(self._deadline):
            message = await self.receive()
        if message["type"] != "http.request":
            return message
        if not message.get("more_body", False):
            self.end()
        body = message.get("body", b"")
        if self.packed:
            body = self._unpacked(body, last=not message.get("more_body", False))
            message = {**message, "body": body}
        self.left -= len(body)
        if self.left < 0:
            raise TooLargeError
        return message

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self.complete()

    def _unpacked(self, body: bytes, *, last: bool) -> bytes:
        try:
            # One byte more than may be: that is enough to know that it is too much.
            found = self._inflate.decompress(body, self.left + 1)
        except zlib.error as error:
            raise BadGzipError("The body says that it is gzip, and is not.") from error
        fits = len(found) <= self.left
        if fits and (self._inflate.unused_data or (last and not self._inflate.eof)):
            raise BadGzipError("The body's gzip ends too early or too late.")
        return found
