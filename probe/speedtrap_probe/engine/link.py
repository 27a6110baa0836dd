"""HTTP/1.1 on one kept-alive connection, cheap where it counts: the payload."""

import errno
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urljoin, urlsplit

from speedtrap_probe import __version__
from speedtrap_probe.engine import answers
from speedtrap_probe.engine.connection.proxy import authorization
from speedtrap_probe.engine.connection.wire import CUT, Target, Wire, explained
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

REDIRECT_LIMIT = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DOCUMENT_LIMIT = 8 << 20  # bytes; fast.com's script has 0.2 MB, LibreSpeed's list 20 kB
DOCUMENT_WITHIN_S = 30.0
READ_BYTES = 1 << 18
# The next request goes out when so much of the answer is still to come: otherwise a connection
# rests for a round trip after each answer, which at 2,500 Mbps and 20 ms is 1.2 % of the rate.
AHEAD_BYTES = 8 << 20
USER_AGENT = f"speedtrap-probe/{__version__}"
HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept-Encoding": "identity",  # compressed zeros would measure the processor
    "Cache-Control": "no-store",
}
# Linux throws TCP payload away without copying it to us, which saves a small board its processor.
DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0


class Link:
    """A connection to the host of one target, opened when first needed.

    For one thread at a time, except for `abort` and `acked_bytes`, which are meant for the one
    that watches.
    """

    def __init__(self, target: Target, headers: Mapping[str, str] | None = None) -> None:
        self.target = target
        self._http = HTTPConnection(target.host, target.port)
        self._http.default_port = 443 if target.secure else 80  # what the Host header leaves out
        # http.client forgets the socket when the server will close it; `abort` must not.
        self._wire: Wire | None = None
        self._acked_before = 0  # on connections that have been closed
        # What was asked for while the answer before was still coming.
        self._ahead: tuple[Wire, str] | None = None
        self._own = self._deadline = target.deadline.inner()
        self.beginning = b""
        """Of the latest payload."""
        self._answer: HTTPResponse | None = None  # the latest; it holds the socket open
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._headers = HEADERS | dict(headers or {})
        if not target.tunneled:
            self._headers |= authorization(target.proxy)

    def request(
        self, method: str, url: str, body: Iterator[bytes] | None = None, length: int | None = None
    ) -> HTTPResponse:
        """Sends and returns the answer, its body unread. Raises what `explained` understands."""
        answers.check_free(self.target)
        if self._ahead is not None:
            (wire, asked), self._ahead = self._ahead, None
            with suppress(OSError, HTTPException):  # the server would rather be asked anew
                if (method, url) == ("GET", asked):
                    return self._answer_to_what_was_asked_ahead(wire)
            self.close()
        headers = dict(self._headers)
        if length is not None:
            headers |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        fresh = self._http.sock is None
        if fresh:
            self._connect()
        path = _request_target(self.target, url)
        try:
            self._http.request(method, path, body=body, headers=headers)
            self._answer = self._http.getresponse()
        except CUT as cut:
            if body is not None:
                return self._last_words(cut)
            if fresh:
                raise
            self.close()  # a server may hang up between two answers
            return self.request(method, url)
        return self._answer

    @contextmanager
    def within(self, deadline_s: float) -> Iterator[None]:
        """Ends what takes longer in all: a server that sends a byte every few seconds, say.

        Of a connection that is opened inside.
        """
        self._deadline = self._own.inner(deadline_s)
        try:
            yield
        except (OSError, HTTPException) as error:
            if self._deadline.passed:
                raise TimeoutError from error
            raise
        finally:
            self._deadline = self._own

    def payload(self, answer: HTTPResponse, then: str | None = None) -> Iterator[int]:
        """How many bytes of the body have come, as they come; the bytes are thrown away.

        *then* is the address that will be asked for next, if that is known: it is asked for before
        the body has come to its end (pipelining, RFC 9112 section 9.3.2).
        """
        body = answer.read1(READ_BYTES)  # http.client's buffer is empty after this
        self.beginning, first = body[: answers.LOOKED_AT_BYTES], len(body)
        yield first
        if self._wire is None or answer.length is None:  # chunked, or until the server closes
            while first and (got := len(answer.read1(READ_BYTES))):
                yield got
            return
        wire, left = self._wire, answer.length
        if answer.will_close or self.target.proxy or left <= AHEAD_BYTES:
            then = None
        while left:
            if then is not None and left <= AHEAD_BYTES:
                self._ask_ahead(wire, then)
                then = None
            size = min(left, READ_BYTES)
            if wire.plain:
                got = wire.socket.recv_into(self._buffer, size, DISCARD)
            else:
                got = wire.socket.recv_into(self._buffer, size)
            if not got:
                raise ConnectionResetError(errno.ECONNRESET, "cut before the end of the answer")
            left -= got
            yield got
        answer.close()

    def finish(self, answer: HTTPResponse) -> None:
        """Reads the answer to a small request away; raises ToolError when it is no small one."""
        body = answer.read(answers.SMALL_ANSWER_BYTES + 1)
        answers.check_small(self.target, len(body), body[:100])

    def least_round_trip_ms(self) -> float | None:
        """The transport's own shortest, or None where the system cannot say."""
        return self._wire.least_round_trip_ms() if self._wire is not None else None

    def acked_bytes(self) -> int | None:
        """What the other side has acknowledged in all, or None where the system cannot say."""
        if self._wire is None:
            return self._acked_before if sys.platform == "linux" else None
        now = self._wire.acked_bytes()
        return None if now is None else self._acked_before + now

    def abort(self) -> None:
        """Wakes the thread that reads or writes; its call fails, and so does every later one."""
        self._own.end()

    def close(self) -> None:
        self._ahead = None
        self._http.close()
        if self._answer is not None:
            self._answer.close()
        if self._wire is not None:
            self._wire.close()

    def _ask_ahead(self, wire: Wire, url: str) -> None:
        host = self.target.host if ":" not in self.target.host else f"[{self.target.host}]"
        if self.target.port != self._http.default_port:
            host = f"{host}:{self.target.port}"
        lines = [f"GET {_request_target(self.target, url)} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        wire.socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        self._ahead = wire, url

    def _answer_to_what_was_asked_ahead(self, wire: Wire) -> HTTPResponse:
        """Read by hand: http.client's connection knows of one request at a time."""
        self._answer = answer = HTTPResponse(wire.socket, method="GET")
        answer.begin()
        if answer.will_close:
            self._http.sock = None
        return answer

    def _last_words(self, cut: OSError) -> HTTPResponse:
        """Who refuses a body often answers before the body has come, and hangs up.

        Who accepts a body without having taken it does not measure anything.
        """
        try:
            self._answer = answer = self._http.getresponse()
        except (OSError, HTTPException):
            raise cut from None
        if 200 <= answer.status < 300:
            raise cut
        return answer

    def _connect(self) -> None:
        if self._own.passed:
            raise ConnectionAbortedError(errno.ECONNABORTED, "no longer wanted")
        if self._wire is not None:
            self._wire.close()
            self._acked_before += self._wire.acked_bytes() or 0
            self._wire = None
        self._wire = Wire(replace(self.target, deadline=self._deadline))
        self._http.sock = self._wire.socket


def fetch(target: Target, headers: Mapping[str, str] | None = None) -> bytes:
    """A small document, redirects followed; raises ToolError."""
    for _ in range(REDIRECT_LIMIT):
        link = Link(target, headers)
        try:
            with explained(target), link.within(DOCUMENT_WITHIN_S):
                answer = link.request("GET", target.url)
                onward = _onward(target, answer)
                if onward is None:
                    answers.check_status(target, answer.status, answer.headers, document=True)
                    return _small(target, answer)
        finally:
            link.close()
        target = onward
    raise _circle(target)


def follow(target: Target, method: str = "HEAD") -> Target:
    """Where *target* leads after its redirects."""
    for _ in range(REDIRECT_LIMIT):
        link = Link(target)
        try:
            with explained(target), link.within(DOCUMENT_WITHIN_S):
                onward = _onward(target, link.request(method, target.url))
        finally:
            link.close()
        if onward is None:
            return target
        target = onward
    raise _circle(target)


def _onward(target: Target, answer: HTTPResponse) -> Target | None:
    """Where a redirect leads; never from https to http."""
    location = answer.headers.get("Location")
    if answer.status not in REDIRECTS or location is None:
        return None
    with suppress(UnicodeError):  # http.client reads headers as Latin-1; servers write UTF-8
        location = location.encode("latin-1").decode("utf-8")
    onward = target.at(location)
    if target.secure and not onward.secure:
        message = f"{target.host} redirects from https to http ({onward.host})"
        raise ToolError(FailureKind.TOOL_FAILED, message)
    return onward


def _circle(target: Target) -> ToolError:
    return ToolError(FailureKind.TOOL_FAILED, f"{target.host} redirects in a circle")


def _small(target: Target, answer: HTTPResponse) -> bytes:
    body = answer.read(DOCUMENT_LIMIT + 1)
    if len(body) > DOCUMENT_LIMIT:
        raise ToolError(FailureKind.TOOL_FAILED, f"{target.host} sent an endless document")
    return body


def _request_target(target: Target, url: str) -> str:
    """The path, or the whole address when a proxy passes plain HTTP on."""
    parts = urlsplit(urljoin(target.url, url))
    if target.proxy and parts.scheme == "http":
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
