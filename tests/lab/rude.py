"""Servers of SMTP and HTTP whose answers hold whatever bytes a test wants."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast


def _smtp(reply: bytes, heard: BinaryIO, said: BinaryIO) -> None:
    """Good until the recipient, which gets *reply*."""
    said.write(b"220 mx.isp.example ESMTP\r\n")
    good = {b"EHLO": b"250 mx.isp.example", b"MAIL": b"250 2.1.0 OK", b"RSET": b"250 OK"}
    while line := heard.readline():
        verb = line[:4].upper()
        if verb == b"QUIT":
            return
        said.write((reply if verb == b"RCPT" else good.get(verb, b"502 5.5.1 what?")) + b"\r\n")


def _http(reply: bytes, heard: BinaryIO, said: BinaryIO) -> None:
    """One request, answered by *reply*: everything from its status line on."""
    length = 0
    while (line := heard.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    heard.read(length)
    said.write(reply)


@contextmanager
def _serving(speak: object, reply: bytes) -> Iterator[int]:
    class Handler(socketserver.StreamRequestHandler):
        wbufsize = 0

        def handle(self) -> None:
            try:
                speak(reply, self.rfile, cast(BinaryIO, self.wfile))  # type: ignore[operator]  # one of the two above
            except OSError:
                return  # the other side had heard enough

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def rude_smtp(reply: bytes) -> Iterator[int]:
    """Its port. *reply* is a whole reply of SMTP without its last line end."""
    with _serving(_smtp, reply) as port:
        yield port


@contextmanager
def rude_http(status: int, body: bytes, media_type: str = "text/plain") -> Iterator[int]:
    """Its port. The body is in the status line too, as far as a line goes."""
    phrase = body.split(b"\r")[0][:200]
    head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    reply = head % (status, phrase, media_type.encode(), len(body)) + body
    with _serving(_http, reply) as port:
        yield port
