"""Asking ahead: the next answer begins where the one before ends, on the same connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import AHEAD_BYTES, Link

SIZE = AHEAD_BYTES + (2 << 20)
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode()


class Server:
    """Answers two requests a connection; `holds` keeps the end of an answer for the next request.

    `cuts`: hangs up after an answer, though it did not say so.
    """

    def __init__(self, listening: socket.socket, *, holds: bool, cuts: bool) -> None:
        self.listening, self.holds, self.cuts = listening, holds, cuts
        self.connections = 0
        self.asked: list[bytes] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:  # the test is over
                return
            self.connections += 1
            with connection, connection.makefile("rb") as said:
                connection.settimeout(20)
                self._answer(connection, said)

    def _answer(self, connection: socket.socket, said: Iterator[bytes]) -> None:
        try:
            self._request(said)
            connection.sendall(HEAD + bytes(SIZE - 1000))
            if self.holds:
                self._request(said)
            connection.sendall(bytes(1000))
            if not self.cuts:
                connection.sendall(HEAD + bytes(SIZE))
                next(said, None)  # until the client hangs up
        except OSError:  # it did
            return

    def _request(self, said: Iterator[bytes]) -> None:
        lines = [next(said)]
        while lines[-1] != b"\r\n":
            lines.append(next(said))
        self.asked.append(b"".join(lines))


@contextmanager
def serving(*, holds: bool = False, cuts: bool = False) -> Iterator[tuple[Server, Link]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(listening, holds=holds, cuts=cuts)
        thread = threading.Thread(target=server.serve)
        thread.start()
        link = Link(Target(f"http://127.0.0.1:{listening.getsockname()[1]}/file?a=b"))
        try:
            yield server, link
        finally:
            link.close()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def both(link: Link) -> list[int]:
    """What two downloads of the same address bring."""
    url = link.target.url
    return [sum(link.payload(link.request("GET", url), then=url)) for _ in range(2)]


def test_the_next_request_is_there_before_the_answer_ends() -> None:
    with serving(holds=True) as (server, link):
        assert both(link) == [SIZE, SIZE]
    assert server.connections == 1
    first, second = server.asked
    assert sorted(first.splitlines()) == sorted(second.splitlines())


def test_a_server_that_hangs_up_instead_is_asked_anew() -> None:
    with serving(holds=True, cuts=True) as (server, link):
        assert both(link) == [SIZE, SIZE]
    assert server.connections == 2


def test_another_address_than_the_one_asked_ahead_is_asked_on_a_new_connection() -> None:
    with serving(holds=True) as (server, link):
        assert sum(link.payload(link.request("GET", "/file?a=b"), then="/file?a=b")) == SIZE
        assert link.request("GET", "/another").status == 200
    assert server.connections == 2
    assert server.asked[-1].startswith(b"GET /another ")
