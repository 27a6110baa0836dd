"""Servers to measure against: LibreSpeed's contract, and a plain file as TurnKey has."""

import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.lab.http11 import Handler, Server, serving

PIECE = secrets.token_bytes(1 << 18)
FILE_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server behaves. `suffix` is the only one its endpoints know."""

    suffix: str = ".php"
    status: int = 200
    largest_post: int | None = None
    stalls_after: int | None = None
    empty: bool = False
    refuses_uploads: bool = False
    redirect: str | None = None


class SpeedServer(Server):
    """Counts what it sent and received."""

    def __init__(self, manners: Manners, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _SpeedHandler)
        self.manners = manners
        self.received = 0
        self.connections = 0
        self.released = threading.Event()


class _SpeedHandler(Handler):
    server: SpeedServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        manners = self.server.manners
        if manners.redirect is not None:
            self._redirect(manners.redirect)
        elif manners.status != 200:
            self.answer(b"no", manners.status)
        elif self.route == f"/speed/garbage{manners.suffix}":
            mebibytes = int(parse_qs(urlsplit(self.path).query)["ckSize"][0])
            self._payload(mebibytes << 20)
        elif self.route == "/100mb.bin":
            self._payload(FILE_BYTES)
        elif self.route == f"/speed/empty{manners.suffix}":
            self.answer(b"")
        elif self.route == f"/speed/getIP{manners.suffix}":
            self.answer(b"127.0.0.1")
        else:
            self.answer(b"no such file", 404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        manners = self.server.manners
        length = int(self.headers["Content-Length"])
        if manners.refuses_uploads or self.route != f"/speed/empty{manners.suffix}":
            self._cut(403)
        elif manners.largest_post is not None and length > manners.largest_post:
            self._cut(413)
        else:
            self.server.received += self.swallow()
            self.answer(b"")

    def _payload(self, total: int) -> None:
        manners = self.server.manners
        if manners.empty:
            self.answer(b"")
        elif manners.stalls_after is None or self.command == "HEAD":
            self.stream(total, PIECE)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(total))
            self.end_headers()
            self.wfile.write(PIECE[: manners.stalls_after])
            self.server.released.wait(30)

    def _cut(self, status: int) -> None:
        """Answers before the body has come, and closes, as servers do with what they refuse."""
        self.close_connection = True
        self.answer(b"no", status)

    def _redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def speed_server(
    manners: Manners = Manners(), tls: ssl.SSLContext | None = None
) -> Iterator[SpeedServer]:
    """A running server on a free port of the loopback."""
    server = SpeedServer(manners)
    with serving(server, tls):
        yield server
        server.released.set()
