"""A man in the middle who hides STARTTLS from the client and writes down what it says then."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_OFFER = re.compile(rb"250([ -])STARTTLS\r\n", re.IGNORECASE)


@dataclass
class Eavesdropper:
    """`heard` is every byte that the client sent; `offers_hidden` how often TLS was on offer."""

    port: int = 0
    heard: bytes = b""
    offers_hidden: int = 0


@contextmanager
def stripping_proxy(port: int) -> Iterator[Eavesdropper]:
    """Stands before the SMTP server on loopback *port* until the block ends."""
    lab = Eavesdropper()

    class Between(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=self._answer, args=(server,), daemon=True)
                back.start()
                while said := _received(self.request):
                    lab.heard += said
                    server.sendall(said)
                server.shutdown(socket.SHUT_WR)
                back.join()

        def _answer(self, server: socket.socket) -> None:
            while reply := _received(server):
                lab.offers_hidden += len(_OFFER.findall(reply))
                self.request.sendall(_OFFER.sub(rb"250\1HELP\r\n", reply))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Between) as proxy:
        proxy.daemon_threads = True
        lab.port = proxy.server_address[1]
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield lab
        proxy.shutdown()
        thread.join()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""
