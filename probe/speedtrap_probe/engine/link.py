"""One HTTP connection, opened as the engine wants it, and what its errors mean."""

import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    ReadTimeoutError,
)

from speedtrap_probe import __version__
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

CONNECT_TIMEOUT_S = 10.0
SHORT_CONNECT_TIMEOUT_S = 3.0  # when the connectivity check says that the line is down
READ_TIMEOUT_S = 10.0
REDIRECT_LIMIT = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TOO_MANY_REQUESTS = 429
HEADERS = {
    "User-Agent": f"speedtrap-probe/{__version__}",
    "Accept-Encoding": "identity",  # compressed zeros would measure the processor
    "Cache-Control": "no-store",
}
# linux/tcp.h, struct tcp_info: eight bytes, 24 u32, two u64, then u64 tcpi_bytes_acked.
BYTES_ACKED = struct.Struct("@120xQ")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: the address, through a proxy only when one was asked for."""

    url: str
    proxy: str | None = None
    connect_timeout_s: float = CONNECT_TIMEOUT_S

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def at(self, url: str) -> "Target":
        """The same way out, to another address."""
        return Target(urljoin(self.url, url), self.proxy, self.connect_timeout_s)


class Link:
    """A kept-alive connection to the host of one target. Not for use by two threads at once,
    except for `abort` and `acked_bytes`, which are meant for the one that watches."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connection = _connection(target)
        # http.client forgets the socket when the server will close it; `abort` must not.
        self._socket: socket.socket | None = None
        self._acked_before = 0  # on connections that have been closed
        self._acked_now = 0

    def request(
        self, method: str, url: str, body: Iterator[bytes] | None = None, length: int | None = None
    ) -> BaseHTTPResponse:
        """Sends and returns the answer, its body unread. Raises what `explained` understands."""
        headers = dict(HEADERS)
        if length is not None:
            headers |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        if self._connection.is_closed:
            self._connect()
        self._connection.request(
            method,
            _request_target(self.target, url),
            body=body,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )
        return self._connection.getresponse()

    def acked_bytes(self) -> int | None:
        """What the other side has acknowledged in all, or None where the system cannot say."""
        if sys.platform != "linux":
            return None
        if self._socket is not None:
            try:
                info = self._socket.getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size
                )
                self._acked_now = BYTES_ACKED.unpack(info)[0]
            except OSError:
                self._socket = None  # closed this moment: the last value stands
        return self._acked_before + self._acked_now

    def abort(self) -> None:
        """Wakes the thread that reads or writes; its call fails."""
        if self._socket is not None:
            with suppress(OSError):  # closed already
                # Not SSLSocket's own, which drops the TLS state under the other thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> None:
        self.acked_bytes()
        self._acked_before, self._acked_now = self._acked_before + self._acked_now, 0
        self._connection.timeout = self.target.connect_timeout_s
        self._connection.connect()
        self._connection.timeout = READ_TIMEOUT_S
        self._socket = self._connection.sock


def follow(target: Target, method: str = "HEAD") -> Target:
    """Where *target* leads after its redirects; never from https to http."""
    for _ in range(REDIRECT_LIMIT):
        link = Link(target)
        try:
            with explained(target):
                answer = link.request(method, target.url)
                location = answer.headers.get("Location")
        finally:
            link.close()
        if answer.status not in REDIRECTS or location is None:
            return target
        onward = target.at(location)
        if target.url.startswith("https:") and not onward.url.startswith("https:"):
            raise ToolError(
                FailureKind.TOOL_FAILED, f"{target.host} redirects from https to {onward.url}"
            )
        target = onward
    raise ToolError(FailureKind.TOOL_FAILED, f"{target.host} redirects in a circle")


def check_status(target: Target, status: int) -> None:
    """Raises unless the answer is a good one."""
    if status == TOO_MANY_REQUESTS:
        raise ToolError(FailureKind.RATE_LIMITED, f"{target.host} limits requests (HTTP 429)")
    if not 200 <= status < 300:
        raise ToolError(
            FailureKind.TOOL_FAILED, f"{target.host} answered HTTP {status} for {target.url}"
        )


@contextmanager
def explained(target: Target) -> Iterator[None]:
    """Turns what sockets, TLS and HTTP raise into a ToolError for people."""
    try:
        yield
    except (HTTPError, HTTPException, OSError) as error:
        raise _tool_error(target, error) from error


def _tool_error(target: Target, error: Exception) -> ToolError:
    where = target.host
    chain = [error, *_causes(error)]
    if any(isinstance(link, NameResolutionError | socket.gaierror) for link in chain):
        return ToolError(FailureKind.NO_NETWORK, f"the name {where} could not be resolved")
    if any(isinstance(link, ConnectTimeoutError) for link in chain):
        return ToolError(FailureKind.NO_NETWORK, f"no answer from {where} while connecting")
    if any(isinstance(link, ssl.SSLError) for link in chain):
        return ToolError(FailureKind.TOOL_FAILED, f"no trusted TLS connection to {where}: {error}")
    if any(isinstance(link, ReadTimeoutError | TimeoutError) for link in chain):
        return ToolError(FailureKind.TIMEOUT, f"{where} stopped answering")
    for link in chain:
        if isinstance(link, OSError) and link.strerror:
            return ToolError(FailureKind.NO_NETWORK, f"no connection to {where}: {link.strerror}")
    return ToolError(FailureKind.TOOL_FAILED, f"no sensible HTTP from {where}: {error}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _connection(target: Target) -> HTTPConnection:
    parts = urlsplit(target.url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    via = urlsplit(target.proxy) if target.proxy else None
    address = (via.hostname or "", via.port or 80) if via else (host, port)
    if not secure:
        return HTTPConnection(*address)
    connection = HTTPSConnection(*address, ssl_context=ssl.create_default_context())
    if via:
        connection.set_tunnel(host, port)
    return connection


def _request_target(target: Target, url: str) -> str:
    """The path, or the whole address when a proxy passes plain HTTP on."""
    parts = urlsplit(urljoin(target.url, url))
    if target.proxy and parts.scheme == "http":
        return parts.geturl()
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
