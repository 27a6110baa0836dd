"""One TCP or TLS connection, opened as the engine wants it, and what its errors mean."""

import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from urllib.parse import urlsplit

from speedtrap_probe.deadline import UNLIMITED, Deadline
from speedtrap_probe.engine.connection import address, proxy, resolving
from speedtrap_probe.engine.connection.connecting import Found, connect
from speedtrap_probe.errors import ToolError
from speedtrap_probe.line.way import ANY_WAY, PlaceError, Way
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import Setup

CONNECT_TIMEOUT_S = 10.0
SHORT_CONNECT_TIMEOUT_S = 3.0  # when the connectivity check says that the line is down
READ_TIMEOUT_S = 10.0
CUT = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)  # the last one: Windows
SECURE = frozenset({"https", "wss"})
# linux/tcp.h, struct tcp_info: eight bytes, 24 u32 (the 16th is tcpi_rtt, in µs), two u64, then
# u64 tcpi_bytes_acked, one more u64, three u32, and tcpi_min_rtt in µs (0 before Linux 4.6).
TCP_INFO = struct.Struct("@68xI48xQ20xI")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and by which way: a proxy only when one was asked for.

    `public`: a server that many share and that limits who asks too often. `named`: the host that a
    person wrote down; any other has to lie on the internet. Raises ToolError when the address
    cannot be asked.
    """

    url: str
    proxy: str | None = None
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    way: Way = ANY_WAY
    public: bool = True
    named: str | None = None
    deadline: Deadline = field(default=UNLIMITED, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _usable(self.url))
        if self.named is None:
            object.__setattr__(self, "named", self.host)

    @classmethod
    def of(cls, url: str, setup: Setup, *, internet: bool = True) -> "Target":
        """By the way that the setup names; shortly when the line that it needs is down."""
        down = internet and setup.line_up is False
        timeout_s = SHORT_CONNECT_TIMEOUT_S if down else CONNECT_TIMEOUT_S
        found = cls(url, setup.proxy, timeout_s, setup.way, internet, deadline=setup.deadline)
        written = setup.names(urlsplit(url).hostname or "")
        return found if written else replace(found, named="")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme in SECURE

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.secure else 80)

    @property
    def origin(self) -> str:
        return f"{urlsplit(self.url).scheme}://{self.host}:{self.port}"

    @property
    def tunneled(self) -> bool:
        """Through a proxy that does not see what is asked for: a WebSocket, too (RFC 6455, 4.1)."""
        return self.proxy is not None and urlsplit(self.url).scheme != "http"

    def at(self, url: str) -> "Target":
        """The same way out, to another address, which may be relative to this one."""
        return replace(self, url=_usable(url, self.url))

    def listed(self, url: str) -> "Target":
        """The same way out, to a whole address that a list of this host names."""
        return replace(self, url=url)


class Wire:
    """An open connection to the host of a target.

    For one thread at a time, except for what the system tells of it, which is meant for the one
    that watches. Its target's deadline ends it.
    """

    def __init__(self, target: Target) -> None:
        self.plain = not target.secure
        self._deadline = target.deadline
        self.socket = _secured(target, _opened(target))
        self.socket.settimeout(READ_TIMEOUT_S)
        self._open = True
        self._told = (0.0, 0, 0.0)

    def acked_bytes(self) -> int | None:
        """What the other side has acknowledged, or None where the system cannot say."""
        return self._info()[1] if sys.platform == "linux" else None

    def round_trip_ms(self) -> float | None:
        """The system's own smoothed figure, or None where it cannot say."""
        return self._info()[0] / 1000 or None if sys.platform == "linux" else None

    def least_round_trip_ms(self) -> float | None:
        """The shortest that the system saw on this connection, or None where it cannot say."""
        return self._info()[2] / 1000 or None if sys.platform == "linux" else None

    def close(self) -> None:
        self._info()  # the last values, for those who ask afterwards
        self._open = False
        self._deadline.leave(self.socket)
        self.socket.close()

    def _info(self) -> tuple[float, int, float]:
        # Windows and macOS have no TCP_INFO.
        if sys.platform == "linux" and self._open:
            with suppress(OSError):  # closed this moment: the last values stand
                info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
                self._told = TCP_INFO.unpack(info.ljust(TCP_INFO.size, b"\0"))
        return self._told


def tcp_connect(target: Target) -> None:
    """Connects and closes again; raises ToolError when the port does not answer."""
    with explained(target):
        _opened(target).close()


@contextmanager
def explained(target: Target) -> Iterator[None]:
    """Turns what sockets, TLS and HTTP raise into a ToolError for people."""
    try:
        yield
    # ValueError: http.client asks its socket for what a chunk of a negative size has.
    except (HTTPException, OSError, ValueError) as error:
        if target.deadline.passed and target.deadline.within_s is not None:
            message = f"{target.host} had not finished after {target.deadline.within_s:g} s in all"
            raise ToolError(FailureKind.TIMEOUT, message) from error
        raise _tool_error(target, error) from error


def _tool_error(target: Target, error: Exception) -> ToolError:
    where = target.host
    if isinstance(error, (*CUT, ssl.SSLEOFError)):
        return ToolError(FailureKind.TOOL_FAILED, f"{where} cut the connection")
    if isinstance(error, ssl.SSLError):
        return ToolError(FailureKind.TOOL_FAILED, f"no trusted TLS connection to {where}: {error}")
    if isinstance(error, TimeoutError):
        return ToolError(FailureKind.TIMEOUT, f"{where} stopped answering")
    if isinstance(error, OSError) and error.strerror:
        return ToolError(FailureKind.NO_NETWORK, f"no connection to {where}: {error.strerror}")
    return ToolError(FailureKind.TOOL_FAILED, f"no sensible HTTP from {where}: {error}")


def _opened(target: Target) -> socket.socket:
    """By the first address that answers, of the IP version and from the place that were chosen."""
    via = urlsplit(target.proxy) if target.proxy else None
    host, port = (via.hostname or "", via.port or 80) if via else (target.host, target.port)
    found = _allowed(target, host, _resolved(target, host, port))
    try:
        timeout_s = min(target.connect_timeout_s, target.deadline.left_s())
        return connect(found, target.way, timeout_s)
    except PlaceError as error:
        message = f"cannot measure from {target.way.bind} (bind): {error.strerror}"
        raise ToolError(FailureKind.TOOL_FAILED, message) from error
    except TimeoutError as error:
        message = f"no answer from {host} while connecting"
        raise ToolError(FailureKind.NO_NETWORK, message) from error


def _resolved(target: Target, host: str, port: int) -> list[Found]:
    family = target.way.family
    try:
        return resolving.resolved(host, port, family, target.deadline.left_s())
    except (OSError, UnicodeError) as error:
        which = "" if family == socket.AF_UNSPEC else f" to an IPv{_version(family)} address"
        message = f"the name {host} could not be resolved{which}"
        raise ToolError(FailureKind.NO_NETWORK, message) from error


def _allowed(target: Target, host: str, found: list[Found]) -> list[Found]:
    """All of a host that a person named; of any other those on the internet.

    What a proxy connects to is not for us to see: there the name alone is looked at.
    """
    if target.host == target.named:
        return found
    allowed = [] if resolving.is_own(target.host) else found
    if host == target.host:
        allowed = resolving.on_the_internet(allowed)
    if not allowed:
        message = (
            f"{target.host} lies on this machine or in this network: only a host that the settings "
            "name may, not one of a list or of a redirect"
        )
        raise ToolError(FailureKind.TOOL_FAILED, message)
    return allowed


def _secured(target: Target, opened: socket.socket) -> socket.socket:
    """Through the proxy's tunnel if there is one, with TLS verified; closes what fails."""
    held = opened
    try:
        target.deadline.take(held)
        if target.proxy and target.tunneled:
            proxy.tunnel(held, target.proxy, target.host, target.port)
        if not target.secure:
            return held
        context = ssl.create_default_context()
        target.deadline.leave(held)
        # In two steps, for a handshake can be held up, too.
        held = secured = context.wrap_socket(
            held, server_hostname=target.host, do_handshake_on_connect=False
        )
        target.deadline.take(held)
        secured.do_handshake()
    except BaseException:
        target.deadline.leave(held)
        held.close()
        raise
    return secured


def _usable(url: str, base: str | None = None) -> str:
    try:
        return address.cleaned(url, base)
    except ValueError as error:
        message = f"{address.shown(url)} is no address to measure with: {error}"
        raise ToolError(FailureKind.TOOL_FAILED, message) from error


def _version(family: socket.AddressFamily) -> str:
    return "6" if family == socket.AF_INET6 else "4"
