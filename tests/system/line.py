"""A line of a settable speed: an HTTP server that serves a large file no faster than it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = bytes(8 * 1024)


class Line:
    """Shared by all its connections, as by a household. `mbps` may change at any time."""

    def __init__(self, mbps: float) -> None:
        self.mbps = mbps
        self._lock = threading.Lock()
        self._next_at = time.monotonic()
        self.url = ""

    def wait_for_turn(self, size_bytes: int) -> None:
        """Blocks until the line would have carried the bytes that were sent before."""
        with self._lock:
            now = time.monotonic()
            start = max(self._next_at, now)
            self._next_at = start + size_bytes * 8 / (self.mbps * 1e6)
        if start > now:
            time.sleep(start - now)


@contextmanager
def a_line(mbps: float) -> Iterator[Line]:
    """Serves `100mb.bin` (and any other path) over *line*."""
    line = Line(mbps)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = 100_000_000
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(size))
            self.end_headers()
            try:
                for _ in range(size // len(PIECE)):
                    line.wait_for_turn(len(PIECE))
                    self.wfile.write(PIECE)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    line.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
