"""M-Lab's ndt7, by its published specification (github.com/m-lab/ndt-server/spec).

One WebSocket a direction, ten seconds; binary messages are payload and nothing else, text messages
are measurements of the other side. One TCP connection on purpose: what a single flow gets. M-Lab
publishes every measurement with the address that it came from, so it has to be agreed to first.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPException
from statistics import median
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from speedtrap_probe import __version__
from speedtrap_probe.engine import estimate, http, transfer
from speedtrap_probe.engine.answers import read_json
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import fetch
from speedtrap_probe.engine.websocket import WebSocket
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures, Server, positive
from speedtrap_probe.tool import Option, Setup, Usable

LOCATE_URL = "https://locate.measurementlab.net/v2/nearest/ndt/ndt7"
SUBPROTOCOL = "net.measurementlab.ndt.v7"
DOWNLOAD, UPLOAD = "/ndt/v7/download", "/ndt/v7/upload"
DURATION_S = 10.0
FIRST_MESSAGE_BYTES = 1 << 13
LARGEST_MESSAGE_BYTES = 1 << 20  # the specification allows 1 << 24; cut here to stop in time
GROW_EVERY = 16  # messages of one size, then the next are twice as large
GOODBYE_S = 2.0
LISTED = 50  # looked at of a list that may name any number; M-Lab's has four
MEASUREMENTS = 1000  # kept of one direction; the specification lets a server send a tenth of it
SCHEMES = {"http": "ws", "https": "wss"}
CLIENT = {"client_name": "speedtrap", "client_version": __version__}
CONSENT = (
    "M-Lab publishes every measurement with your IP address; agree by "
    "SPEEDTRAP_PROBE_NDT7_AGREE=yes, or name a server of your own by SPEEDTRAP_PROBE_NDT7_URL"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A server and its addresses for the two directions, tokens and all."""

    server: Server
    download: Target
    upload: Target


@dataclass(frozen=True, slots=True)
class Ndt7:
    """Download, upload, and the round trips that the servers' systems saw."""

    name: str = "ndt7"
    internet: bool = True
    options: tuple[Option, ...] = (
        Option("ndt7_agree", "`yes`: M-Lab may publish measurements with this line's address"),
        Option("ndt7_url", "an ndt7 server (https://host); default: the nearest of M-Lab's"),
        Option("ndt7_locate_url", "M-Lab's list of near servers", LOCATE_URL),
    )

    def usable(self, setup: Setup) -> Usable:
        agreed = _agreed(setup)
        return Usable(agreed, http.VERSION, None if agreed else CONSENT)

    def measure(self, setup: Setup) -> Figures:
        if not _agreed(setup):
            raise ToolError(FailureKind.SKIPPED, CONSENT)
        return http.first_of([partial(_measured, one, setup) for one in _near(setup)], setup)


def _measured(place: Place, setup: Setup) -> Figures:
    """Both directions against one server."""
    window = transfer.Window(
        min(setup.window_s, DURATION_S), connections=1, early=False, stall_s=transfer.STALL_S
    )
    down = _Downloader(place.download, window.enough_s)
    moved = transfer.measure("download", [down], window, setup.progress)
    figures = Figures(
        download_mbps=moved.mbps,
        bytes_received=moved.moved_bytes,
        latency_ms=down.heard.least_rtt_ms(),
        loaded_latency_down_ms=down.heard.loaded_rtt_ms(),
        server=place.server,
        tool_version=http.VERSION,
    )
    up = _Uploader(place.upload, window.enough_s)
    try:
        moved = transfer.measure("upload", [up], window, setup.progress)
    except ToolError as error:
        raise ToolError(error.failure.kind, error.failure.message, figures) from error
    return replace(
        figures,
        upload_mbps=up.heard_mbps() or moved.mbps,
        bytes_sent=moved.moved_bytes,
        loaded_latency_up_ms=up.loaded_rtt_ms(),
    )


@dataclass(slots=True)
class Heard:
    """What the server's text messages said: each a measurement, any part of it optional."""

    rtts_ms: list[float] = field(default_factory=list)
    least_ms: float | None = None
    received: list[estimate.Sample] = field(default_factory=list)
    _messages: int = 0

    def read(self, text: str) -> None:
        """Takes one message; what cannot be read is ignored, as the specification allows.

        So is what comes after more than anyone may send.
        """
        self._messages += 1
        if self._messages > MEASUREMENTS:
            return
        try:
            document = read_json(text.encode(), "a measurement")
        except ToolError:
            return
        tcp, app = _part(document, "TCPInfo"), _part(document, "AppInfo")
        if rtt_us := positive(tcp.get("RTT")):
            self.rtts_ms.append(rtt_us / 1000)
        if least_us := positive(tcp.get("MinRTT")):
            self.least_ms = least_us / 1000
        # M-Lab's server tells what its TCP has received; the specification knows both.
        for part, name in ((app, "NumBytes"), (tcp, "BytesReceived")):
            at_us, count = positive(part.get("ElapsedTime")), positive(part.get(name))
            if at_us and count:
                self.received.append(estimate.Sample(at_us / 1e6, int(count)))
                return

    def least_rtt_ms(self) -> float | None:
        """The shortest, which is that of the handshake when the line was idle."""
        return self.least_ms

    def loaded_rtt_ms(self) -> float | None:
        """The median of the later three quarters: the first are slow start's."""
        later = self.rtts_ms[len(self.rtts_ms) // 4 :]
        return median(later) if later else None


class _Worker(transfer.Worker):
    """One WebSocket. It ends with a closing handshake, which lets the server close first."""

    def __init__(self, target: Target, enough_s: float) -> None:
        super().__init__(target)
        self.heard = Heard()
        self._enough_s = enough_s
        self._socket: WebSocket | None = None
        self._deadline = target.deadline.inner()

    def work(self) -> None:
        self._socket = WebSocket(replace(self.target, deadline=self._deadline), SUBPROTOCOL)
        began_s = time.perf_counter()
        try:
            self.exchange(self._socket)
        except (HTTPException, ConnectionError):
            # "Implementations SHOULD tolerate any abrupt EOF": the server had enough, too.
            early = time.perf_counter() - began_s < self._enough_s
            if early or self.target.deadline.passed:
                raise

    def exchange(self, socket: WebSocket) -> None:
        """The direction's own part, until the other side closes."""
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping = True
        self._deadline.end_within(GOODBYE_S)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class _Downloader(_Worker):
    def exchange(self, socket: WebSocket) -> None:
        for heard in socket.receive():
            if self.stopping:
                socket.say_goodbye()
            elif isinstance(heard, str):
                self.heard.read(heard)
            else:
                self.moved += heard


class _Uploader(_Worker):
    def __init__(self, target: Target, enough_s: float) -> None:
        super().__init__(target, enough_s)
        self._payload = secrets.token_bytes(LARGEST_MESSAGE_BYTES)
        self._payload_share = transfer.TLS_PAYLOAD_SHARE if target.secure else 1.0
        self._rtts_ms: list[float] = []

    def exchange(self, socket: WebSocket) -> None:
        size, of_this_size = FIRST_MESSAGE_BYTES, 0
        while not self.stopping:
            socket.send_random(self._payload[:size])
            self.moved += size
            of_this_size += 1
            if size < LARGEST_MESSAGE_BYTES and of_this_size >= GROW_EVERY:
                size, of_this_size = size * 2, 0
            for heard in socket.waiting():
                self._hear(heard)
            if socket.closed:
                return  # the server thinks it enough
        socket.say_goodbye()
        for heard in socket.receive():
            self._hear(heard)

    def moved_bytes(self) -> int:
        """Acknowledged where the system tells; else what was handed to the system."""
        if self._socket is None:
            return 0
        if rtt_ms := self._socket.wire.round_trip_ms():
            self._rtts_ms.append(rtt_ms)
        acked = self._socket.wire.acked_bytes()
        return self.moved if acked is None else int(acked * self._payload_share)

    def heard_mbps(self) -> float | None:
        """By the server's own figures, where our system does not tell what was acknowledged."""
        if self._socket is None or self._socket.wire.acked_bytes() is not None:
            return None
        return received_mbps(self.heard.received, self._payload_share, self._enough_s)

    def loaded_rtt_ms(self) -> float | None:
        """What our own system saw while it sent, slow start left out."""
        later = self._rtts_ms[len(self._rtts_ms) // 4 :]
        return median(later) if later else None

    def _hear(self, heard: int | str) -> None:
        if isinstance(heard, int):
            message = f"{self.target.host} sent payload during an upload, which ndt7 forbids"
            raise ToolError(FailureKind.TOOL_FAILED, message)
        self.heard.read(heard)


def received_mbps(
    received: Sequence[estimate.Sample], payload_share: float, enough_s: float
) -> float | None:
    """Of what a server says that it received, if that spans enough of the window."""
    if not received or received[-1].at_s - received[0].at_s < enough_s:
        return None
    mbps = estimate.throughput_mbps(received)
    return None if mbps is None else mbps * payload_share


def places(document: bytes) -> list[tuple[str, str, str, str | None]]:
    """Of the locate service's answer: machine, both addresses, and where it stands."""
    # Documented: an empty answer (204) says that all servers are taken.
    told = read_json(document, "M-Lab's list") if document.strip() else None
    rows = _list(told.get("results")) if isinstance(told, dict) else _list(told)
    found = []
    for row in rows[:LISTED]:
        urls = _part(row, "urls")
        pair = [
            urls.get(f"wss://{path}") or urls.get(f"ws://{path}") for path in (DOWNLOAD, UPLOAD)
        ]
        if not all(isinstance(url, str) for url in pair):
            continue
        where = [_part(row, "location").get(name) for name in ("city", "country")]
        stands = ", ".join(str(part) for part in where if part) or None
        machine = row.get("machine")
        name = machine if isinstance(machine, str) else ""
        found.append((name, str(pair[0]), str(pair[1]), stands))
    if not found:
        raise ToolError(FailureKind.RATE_LIMITED, "M-Lab has no server free at the moment")
    return found


def with_client(url: str) -> str:
    """The address with our name in its query, beside the token that is there."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | CLIENT
    scheme = SCHEMES.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme, query=urlencode(query)))


def _agreed(setup: Setup) -> bool:
    return bool(setup.options.get("ndt7_url")) or setup.options.get("ndt7_agree") == "yes"


def _near(setup: Setup) -> list[Place]:
    """One's own server, or M-Lab's, the nearest first; those that were doubted come last."""
    if own := setup.options.get("ndt7_url"):
        root = Target.of(own, setup)
        down, up = (with_client(root.at(path).url) for path in (DOWNLOAD, UPLOAD))
        return [Place(Server(host=root.host), root.at(down), root.at(up))]
    listed = setup.options.get("ndt7_locate_url", LOCATE_URL)
    near = Target.of(f"{listed}?{urlencode(CLIENT)}", setup)
    found = []
    for machine, down, up, where in places(fetch(near)):
        with suppress(ToolError):  # an address that nobody can ask
            ways = [_way(near.listed(url)) for url in (down, up)]
            found.append(Place(Server(machine or None, "M-Lab", ways[0].host, where), *ways))
    if not found:
        raise ToolError(FailureKind.TOOL_FAILED, "M-Lab offers no server with a usable address")
    return sorted(found, key=lambda place: place.server.id in setup.avoid)


def _way(found: Target) -> Target:
    return found.at(with_client(found.url))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _part(document: Any, name: str) -> Mapping[str, Any]:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, dict) else {}


TOOL = Ndt7()
