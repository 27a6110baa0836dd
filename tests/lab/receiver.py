"""An HTTP server that takes what exporters post, or answers as a test wants."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.lab.http11 import Handler, Server, serving


@dataclass(frozen=True)
class Posted:
    """Header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """`answers` are given first, one a request; then `refuses` decides between 400 and 204.

    Such an answer has `body`, of `media_type`.
    """

    url: str = ""
    taken: list[Posted] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    refuses: Callable[[Posted], bool] = lambda _: False
    body: bytes = b""
    media_type: str = "application/json"
    encoding: str = ""

    def answer(self, posted: Posted) -> int:
        if self.answers:
            return self.answers.pop(0)
        if self.refuses(posted):
            return 400
        self.taken.append(posted)
        return 204


@contextlib.contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class _Handler(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the base class's name
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.answer(Posted(self.path, headers, body))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            body = b"" if status == 204 else receiver.body
            self.send_header("Content-Type", receiver.media_type)
            if receiver.encoding:
                self.send_header("Content-Encoding", receiver.encoding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Server(("127.0.0.1", 0), _Handler)) as server:
        receiver.url = server.url
        yield receiver
