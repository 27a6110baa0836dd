"""HTTP servers whose answers do not end, are bombs, or are no GraphQL; they count their bytes."""

import contextlib
import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE = b" " * 65_536
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def _bomb() -> bytes:
    """A gigabyte of blanks in a megabyte of gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join(packer.compress(b" " * 2**20) for _ in range(1024)) + packer.flush()


ENDLESS: dict[str, bytes] = {
    "without a length": _HEAD + b"\r\n",
    "of a length that is told": _HEAD + b"Content-Length: 900000000000\r\n\r\n",
    "in chunks": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
}
"""Heads; what follows is blanks without end."""


@dataclass
class Flood:
    """*head*, then *body* if there is one, else blanks for as long as somebody takes them."""

    head: bytes
    body: bytes | None = None
    port: int = 0
    sent_bytes: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def packed(cls) -> "Flood":
        return cls(_HEAD + b"Content-Encoding: gzip\r\n\r\n", _bomb())

    @classmethod
    def saying(cls, body: bytes) -> "Flood":
        return cls(_HEAD + b"\r\n", body)

    @contextlib.contextmanager
    def serving(self) -> Iterator["Flood"]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            try:
                yield self
            finally:
                with contextlib.suppress(OSError):
                    listening.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        sent = 0
        with connection, contextlib.suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked and (piece := connection.recv(65_536)):
                asked += piece
            connection.sendall(self.head)
            if self.body is not None:
                connection.sendall(self.body)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            piece = b"10000\r\n" + PIECE + b"\r\n" if b"chunked" in self.head else PIECE
            while self.body is None:
                connection.sendall(piece)
                sent += len(PIECE)
                self.sent_bytes[:] = [sent]
