"""A Speedtest-Mini server, and the www.speedtest.net that speedtest-cli asks first.

Even with `--mini`, speedtest-cli fetches its configuration from www.speedtest.net. On a closed
network it finds it here: this server is also the HTTP proxy to it (CONNECT with a test
certificate for `--secure`, or a plain absolute address).
"""

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.http11 import Handler, Server, serving

CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<settings>
<client ip="192.0.2.7" lat="39.7" lon="-104.9" isp="Lab" country="US"/>
<server-config threadcount="2" ignoreids=""/>
<download testlength="2" threadsperurl="2"/>
<upload testlength="2" ratio="5" threads="2" maxchunkcount="6"/>
</settings>"""
PIECE = secrets.token_bytes(1 << 16)
CONFIG_PATH = "/speedtest-config.php"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What goes wrong."""

    config_status: int = 200
    broken_download: bool = False
    broken_upload: bool = False


class MiniServer(Server):
    """Listens on a free port of the loopback."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _MiniHandler)
        self.behaviour = behaviour
        self.tls = tls
        self.user_agents: set[str] = set()


class _MiniHandler(Handler):
    server: MiniServer

    def do_CONNECT(self) -> None:  # noqa: N802 - http.server's name
        """Plays www.speedtest.net:443 behind the tunnel."""
        assert self.server.tls is not None
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the server closes only what it accepted, not what TLS made of it

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        behaviour = self.server.behaviour
        self.server.user_agents.add(self.headers.get("User-Agent", ""))
        if self.route == CONFIG_PATH:
            self.answer(CONFIG.encode(), behaviour.config_status, "text/xml")
        elif self.route.endswith("/speedtest/latency.txt"):
            self.answer(b"test=test")
        elif "/speedtest/random" in self.route:
            self._random(behaviour.broken_download)
        elif self.route in ("", "/"):
            self.answer(b'<script>var s = {upload_extension: "php"};</script>', 200, "text/html")
        else:
            self.answer(b"no such file", 404)

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        if self.server.behaviour.broken_upload:
            self.close_connection = True
            self.answer(b"out of order", 503)
            return
        self.answer(f"size={self.swallow()}".encode())

    def _random(self, broken: bool) -> None:
        if broken:
            self.answer(b"no such file", 404)
            return
        side = int(self.route.rpartition("/random")[2].partition("x")[0])
        self.stream(2 * side * side, PIECE)


@contextmanager
def mini_server(
    behaviour: Behaviour = Behaviour(), tls: ssl.SSLContext | None = None
) -> Iterator[MiniServer]:
    """A running server; *tls* is for www.speedtest.net."""
    server = MiniServer(behaviour, tls)
    with serving(server):
        yield server
