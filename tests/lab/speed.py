"""Servers to measure against: LibreSpeed's contract, a plain file as TurnKey has, Cloudflare's and
fast.com's endpoints. And whatever may go wrong with one of them, the same for all."""

import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.lab.http11 import Handler, Server, serving

PIECE = secrets.token_bytes(1 << 18)
FILE_BYTES = 100_000_000
RANGE = "/fast/target/range/0-"
PAGE = b'<html><head></head><body><script src="app-1a2b3c.js"></script></body></html>'
SCRIPT = b'x={https:!0,token:"TheTokenOfTheScript",urlCount:5}'


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls connections that carry payload in *direction*, all but the first `spared`.

    `status`: they are refused. `cut`: their answers, or the bodies they send, end in the middle by
    a closed connection. `hang`: they stay open, and nothing moves any more. Either after `after`
    good requests (downloads may be in the middle of the next).
    """

    direction: str
    status: int | None = None
    cut: bool = False
    hang: bool = False
    spared: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server behaves. `suffix` is the only one its endpoints know.

    `instead`: what a download gets with status 200, and its type. `tells`: headers of all answers.
    `early`: uploads are answered before they have come. `server_ms`: how long a ping takes.
    """

    suffix: str = ".php"
    status: int = 200
    largest_post: int | None = None
    stalls_after: int | None = None
    empty: bool = False
    refuses_uploads: bool = False
    redirect: str | None = None
    fault: Fault | None = None
    instead: tuple[bytes, str] | None = None
    tells: tuple[tuple[str, str], ...] = ()
    early: bool = False
    server_ms: float = 0.0
    post_ms: float = 0.0
    wants_referer: bool = False  # for Cloudflare's description of itself
    drips: bool = False  # a byte of an answer every now and then, without end
    targets: tuple[object, ...] = ()
    """Of fast.com's list, or of LibreSpeed's; by default this server alone."""


@dataclass(slots=True)
class Connections:
    """Those that asked for payload of one direction, in the order in which they first did."""

    _known: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def number(self, connection: object) -> int:
        with self._lock:
            return self._known.setdefault(id(connection), len(self._known))

    def __len__(self) -> int:
        return len(self._known)


class SpeedServer(Server):
    """Counts what it sent and received."""

    def __init__(self, manners: Manners, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _SpeedHandler)
        self.manners = manners
        self.received = 0
        self.connections = 0
        self.released = threading.Event()
        self.carrying = {"download": Connections(), "upload": Connections()}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.handlers: list[_SpeedHandler] = []  # kept: they are known by their identity

    def accepted_from(self) -> int:
        """How many connections brought a whole body at least once."""
        return sum(one.accepted for one in self.handlers)


class _SpeedHandler(Handler):
    server: SpeedServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.server.handlers.append(self)
        self.good = 0
        self.accepted = False

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        manners = self.server.manners
        self.server.asked.append((self.path, dict(self.headers)))
        if manners.redirect is not None:
            self._redirect(manners.redirect)
        elif manners.drips:
            self._drip()
        elif manners.status != 200:
            self.answer(b"no", manners.status)
        elif (size := self._asked_bytes()) is not None:
            self._download(size)
        elif (document := self._document()) is not None:
            foreign = self.route == "/cf/meta" and not self.headers.get("Referer", "").startswith(
                f"{self.server.url}/cf/"
            )
            self.answer(document, 403 if manners.wants_referer and foreign else 200)
        elif self._is_ping():
            time.sleep(manners.server_ms / 1000)
            self.answer(b"")
        else:
            self.answer(b"no such file", 404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        manners = self.server.manners
        self.server.asked.append((self.path, dict(self.headers)))
        length = int(self.headers["Content-Length"])
        fault = self._fault("upload")
        if manners.refuses_uploads or not self._is_upload():
            self._cut(403)
        elif manners.largest_post is not None and length > manners.largest_post:
            self._cut(413)
        elif manners.early:
            self._cut(200)
        elif fault is not None:
            self._fail(fault)
        else:
            self.good += 1
            self.accepted = True
            self.server.received += self.swallow()
            time.sleep(manners.post_ms / 1000)
            self.answer(b"")

    def end_headers(self) -> None:
        for name, value in self.server.manners.tells:
            self.send_header(name, value)
        super().end_headers()

    def _asked_bytes(self) -> int | None:
        """How much payload the address means; None of what is none."""
        query = parse_qs(urlsplit(self.path).query)
        if self.route == f"/speed/garbage{self.server.manners.suffix}":
            return int(query["ckSize"][0]) << 20
        if self.route == "/100mb.bin":
            return FILE_BYTES
        if self.route == "/cf/__down":
            return int(query["bytes"][0]) or None
        if self.route.startswith("/ndt/v7/"):
            return FILE_BYTES if self.server.manners.fault or self.server.manners.instead else None
        asked = int(self.route.removeprefix(RANGE)) if self.route.startswith(RANGE) else 0
        return asked or None

    def _document(self) -> bytes | None:
        here, manners = self.server.url, self.server.manners
        entry = {"id": 1, "name": "Lab", "server": f"{here}/speed/", "dlURL": "garbage.php"}
        entry |= {"ulURL": "empty.php", "pingURL": "empty.php", "getIpURL": "getIP.php"}
        place = {"city": "Here", "country": "XX"}
        target = {"url": f"{here}/fast/target?c=1&t=abc", "location": place}
        documents = {
            f"/speed/getIP{manners.suffix}": b"127.0.0.1",
            "/servers.php": json.dumps(list(manners.targets) or [entry]).encode(),
            "/cf/meta": b'{"colo": {"iata": "FRA", "city": "Frankfurt"}}',
            "/fast/": PAGE,
            "/fast/app-1a2b3c.js": SCRIPT,
            "/fast/api": json.dumps({"targets": list(manners.targets) or [target]}).encode(),
        }
        return documents.get(self.route)

    def _is_ping(self) -> bool:
        pings = (f"/speed/empty{self.server.manners.suffix}", "/cf/__down", f"{RANGE}0")
        return self.route in pings

    def _is_upload(self) -> bool:
        uploads = (f"/speed/empty{self.server.manners.suffix}", "/cf/__up", f"{RANGE}0")
        return self.route in uploads

    def _fault(self, direction: str) -> Fault | None:
        number = self.server.carrying[direction].number(self)
        fault = self.server.manners.fault
        if fault is None or fault.direction != direction:
            return None
        return None if number < fault.spared or self.good < fault.after else fault

    def _fail(self, fault: Fault) -> None:
        if fault.status is not None:
            self._cut(fault.status)
        elif fault.hang:
            self.server.released.wait(30)
        else:
            self.close_connection = True

    def _download(self, total: int) -> None:
        manners = self.server.manners
        if self.command == "HEAD":
            self.stream(total, PIECE)
            return
        fault = self._fault("download")
        if fault is not None and (fault.status is not None or fault.hang):
            self._fail(fault)
        elif fault is not None:
            self._payload(total, until=1 << 20)
            self.close_connection = True
        elif manners.instead is not None:
            self.answer(*_with_status(manners.instead))
        elif manners.empty:
            self.answer(b"")
        elif manners.stalls_after is not None:
            self._payload(total, until=manners.stalls_after)
            self.server.released.wait(30)
        else:
            self.good += 1
            self.stream(total, PIECE)

    def _payload(self, total: int, until: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(total))
        self.end_headers()
        for start in range(0, until, len(PIECE)):
            self.wfile.write(PIECE[: until - start])

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not self.server.released.wait(0.05):
            self.wfile.write(b" ")

    def _cut(self, status: int) -> None:
        """Answers before the body has come, and closes, as servers do with what they refuse."""
        self.close_connection = True
        self.answer(b"no" if status != 200 else b"", status)

    def _redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _with_status(instead: tuple[bytes, str]) -> tuple[bytes, int, str]:
    body, media_type = instead
    return body, 200, media_type


@contextmanager
def speed_server(
    manners: Manners = Manners(), tls: ssl.SSLContext | None = None
) -> Iterator[SpeedServer]:
    """A running server on a free port of the loopback."""
    server = SpeedServer(manners)
    with serving(server, tls):
        yield server
        server.released.set()
