"""What the lab's small HTTP servers have in common: threads, HTTP/1.1, quiet about hang-ups."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    """Answers with a body in one go; subclasses decide what."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def route(self) -> str:
        """The path without its query, also of an absolute address (as proxies get them)."""
        return urlsplit(self.path).path

    def answer(self, body: bytes, status: int = 200, media_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def swallow(self) -> int:
        """Reads the request's body away and counts it."""
        left = length = int(self.headers.get("Content-Length", "0"))
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            left -= len(data)
        return length - left

    def stream(self, total: int, piece: bytes) -> None:
        """Sends *total* bytes of payload."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(total))
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, total, len(piece)):
            self.wfile.write(piece[: total - start])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests read results, not logs."""


class Server(ThreadingHTTPServer):
    """A clients that hangs up in the middle is what a measuring client does."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Hang-ups are no errors here; a failing test shows in its own assertions."""

    @property
    def url(self) -> str:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(server: Server, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serves in a thread until the block ends."""
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
