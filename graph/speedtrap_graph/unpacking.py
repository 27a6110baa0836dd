"""A request's body, as large as it may be and no larger: as it comes, or out of gzip.

What a compressed body grows to counts, and it is never unpacked further than the limit: a bomb of a
few kilobytes costs no more memory than an honest request.
"""

import zlib
from dataclasses import dataclass, field

from starlette.types import Message, Receive

GZIP = 16 + zlib.MAX_WBITS


class TooLargeError(Exception):
    """The body has grown beyond the limit."""


class BadGzipError(Exception):
    """The body is no gzip; its text is for the caller."""


@dataclass
class Unpacking:
    """Stands where `receive` stood."""

    receive: Receive
    left: int
    packed: bool
    _inflate: "zlib._Decompress" = field(default_factory=lambda: zlib.decompressobj(GZIP))

    async def __call__(self) -> Message:
        message = await self.receive()
        if message["type"] != "http.request":
            return message
        body = message.get("body", b"")
        if self.packed:
            body = self._unpacked(body, last=not message.get("more_body", False))
            message = {**message, "body": body}
        self.left -= len(body)
        if self.left < 0:
            raise TooLargeError
        return message

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
