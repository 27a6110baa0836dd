"""An HTTP proxy that wants a user name and a password: tunnels, and plain requests passed on."""

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from urllib.parse import urlsplit

USER, PASSWORD = "me", "pass word/@:ü"
QUOTED = "me:pass%20word%2F%40%3A%C3%BC"
"""Both as an address carries them."""
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
REFUSAL = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=lab\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


@dataclass(slots=True)
class Proxy:
    """Its address without a password, and what it was asked for: method and place."""

    port: int
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0
    leads_nowhere: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_password(self) -> str:
        return f"http://{QUOTED}@127.0.0.1:{self.port}"


def _serve(proxy: Proxy, client: socket.socket) -> None:
    with client, suppress(OSError):
        said = client.makefile("rb")
        while head := _head(said):
            method, place, _version = head[0].split(" ", 2)
            if f"Proxy-Authorization: {AUTHORIZATION}" not in head:
                proxy.refused += 1
                client.sendall(REFUSAL)
                return
            proxy.asked.append((method, place))
            if proxy.leads_nowhere:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            if method == "CONNECT":
                host, _, port = place.rpartition(":")
                with socket.create_connection((host, int(port)), 10) as server:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _both_ways(client, server)
                return
            _pass_on(client, said, method, place, head)


def _pass_on(
    client: socket.socket, said: BufferedReader, method: str, place: str, head: list[str]
) -> None:
    """One request, on a connection of its own to the server."""
    parts = urlsplit(place)
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    kept = [line for line in head[1:] if not line.startswith(("Proxy-", "Connection"))]
    lines = [f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]
    with socket.create_connection((parts.hostname, parts.port or 80), 10) as server:
        server.sendall("\r\n".join(lines).encode())
        length = next((int(line[15:]) for line in head if line.startswith("Content-Length:")), 0)
        while length and (data := said.read1(min(length, 1 << 16))):
            server.sendall(data)
            length -= len(data)
        answer = server.makefile("rb")
        status = answer.readline()
        client.sendall(status + b"Connection: close\r\n")
        while data := answer.read1(1 << 16):
            client.sendall(data)
    raise ConnectionError("one request a connection")


def _head(said: BufferedReader) -> list[str]:
    lines = []
    while (line := said.readline().decode("latin-1")) not in ("", "\r\n"):
        lines.append(line.rstrip("\r\n"))
    return lines


def _both_ways(one: socket.socket, other: socket.socket) -> None:
    ways = {one: other, other: one}
    while True:
        for ready in select.select([*ways], [], [], 30)[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            ways[ready].sendall(data)


@contextmanager
def password_proxy(*, leads_nowhere: bool = False) -> Iterator[Proxy]:
    """A running proxy on a free port of the loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        proxy = Proxy(listening.getsockname()[1], leads_nowhere=leads_nowhere)

        def accept() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    client = listening.accept()[0]
                    threading.Thread(target=_serve, args=(proxy, client), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield proxy
        with suppress(OSError):  # on Windows only the close wakes it
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
