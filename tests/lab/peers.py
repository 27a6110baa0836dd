"""A door before any TCP server that notes from which address each connection came."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

PIECE_BYTES = 1 << 18


class Door(socketserver.ThreadingTCPServer):
    """Where to knock; `peers` are the source addresses of all who did, once somebody `knocked`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, to_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.to_port = to_port
        self.port = int(self.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.peers: set[str] = set()
        self.knocked = threading.Event()


class _Passage(socketserver.BaseRequestHandler):
    server: Door

    def handle(self) -> None:
        self.server.peers.add(self.client_address[0])
        self.server.knocked.set()
        with socket.create_connection(("127.0.0.1", self.server.to_port)) as there:
            back = threading.Thread(target=_pump, args=(there, self.request), daemon=True)
            back.start()
            _pump(self.request, there)
            back.join()


@contextlib.contextmanager
def door(to_port: int) -> Iterator[Door]:
    """Passes everything on to that port of the loopback."""
    with Door(to_port) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # hung up
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
    with contextlib.suppress(OSError):  # gone already
        sink.shutdown(socket.SHUT_WR)
