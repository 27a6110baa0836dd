"""A web server that answers as it was written down: captures of HTTP services, played back."""

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.lab.http11 import Handler, Server, serving

PIECE = secrets.token_bytes(1 << 16)


class ReplayServer(Server):
    """*answers*: each with `request` (method and path, or a beginning of it that ends in *) and
    `status`, `headers`, `body`, `latin1_body` or `random_bytes`, `largest_body`, `times` (then the
    next that fits), `without_length`. `{url}` in a body is this server."""

    def __init__(self, answers: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Replay)
        self.answers = [dict(answer) for answer in answers]
        self.turn = threading.Lock()
        self.asked: list[str] = []

    def next(self, request: str) -> Mapping[str, Any]:
        with self.turn:
            self.asked.append(request)
            for answer in self.answers:
                if answer.get("times", 1) > 0 and _fits(answer["request"], request):
                    if "times" in answer:
                        answer["times"] -= 1
                    return answer
        return {"status": 404, "body": "not in the capture"}


class _Replay(Handler):
    server: ReplayServer

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        answer = self.server.next(f"{self.command} {self.path}")
        sent = self.headers.get("Content-Length")
        if sent is not None and self._refused(int(sent), answer):
            return
        self.swallow()
        self._say(answer)

    do_HEAD = do_POST = do_GET  # noqa: N815 - http.server's names

    def _refused(self, length: int, answer: Mapping[str, Any]) -> bool:
        if length <= answer.get("largest_body", length) and answer.get("status", 200) < 400:
            return False
        self.close_connection = True
        self.answer(b"no", max(answer.get("status", 413), 400))
        return True

    def _say(self, answer: Mapping[str, Any]) -> None:
        body = str(answer.get("body", "")).replace("{url}", self.server.url).encode()
        body = body or str(answer.get("latin1_body", "")).encode("latin-1")
        size = answer.get("random_bytes", len(body))
        self.send_response(answer.get("status", 200))
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value.replace("{url}", self.server.url))
        if answer.get("without_length"):
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body)
        for start in range(len(body), size, len(PIECE)):
            self.wfile.write(PIECE[: size - start])


def _fits(pattern: str, request: str) -> bool:
    return request.startswith(pattern[:-1]) if pattern.endswith("*") else request == pattern


@contextmanager
def replay_server(answers: Sequence[Mapping[str, Any]]) -> Iterator[ReplayServer]:
    """A running server on a free port of the loopback."""
    server = ReplayServer(answers)
    with serving(server):
        yield server
