"""A stand-in for X's API over TLS: checks OAuth 1.0a signatures, keeps posts, fails on demand."""

import asyncio
import base64
import html
import itertools
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import trustme
import uvicorn
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from twitter_text import parse_tweet

CONSUMER_KEY, CONSUMER_SECRET = "plantedconsumerkey0001", "planted-consumer-secret"
ACCOUNT = "700000000000000001"
ACCESS_TOKEN, ACCESS_TOKEN_SECRET = "plantedaccesstoken00001", "planted-access-token-secret"

Step = Literal["upload", "metadata", "post", "me", "timeline"]
Fault = Literal[
    "",
    # it does not even look at the request
    "rate limited",  # the later of two limits is the one of 24 hours
    "rate limited today",  # only the app's limit of 24 hours says when
    "forbidden",
    "used up",
    "unpaid",  # 402
    "withdrawn",  # 410
    "unavailable",  # 503 in HTML, as a load balancer says it
    "malformed",  # 400 whose body is a JSON list
    "redirect",
    "cut",  # hangs up in the answer
    "slow",  # does not answer
    "duplicate",  # says 403 duplicate, and it is none
    "killed",  # the client dies while it waits
    "stopped",  # the client sleeps while it waits, longer than its lease
    # it does what it was asked to
    "internal error after the post",  # 500 in JSON
    "cut after the post",
    "slow after the post",
    "late post",  # once the client has hung up
    "no data",  # 200 with `errors` only
    "garbage after the post",  # 201 that is no JSON
    "killed after the post",
    "stopped after the post",
    # of one step only
    "upload unavailable",  # 503 for the image
    "unreadable",  # 503 for who looks up
    "half a list",  # a page with `errors`
]
_OF_ONE_STEP: dict[str, tuple[Step, ...]] = {
    "upload unavailable": ("upload",),
    "unreadable": ("me", "timeline"),
    "half a list": ("timeline",),
}
LATE_BY_S = 0.7


@dataclass(frozen=True)
class Post:
    id: str
    text: str
    media_ids: tuple[str, ...]
    at: datetime


@dataclass
class Media:
    content: bytes
    alt_text: str = ""


@dataclass
class XApi:
    """`fault` may be changed at any time; `posts` and `media` are what was kept.

    `script` has faults for the next requests of a step, one each; `fault` holds where it has none.
    `disturb` is told the client's port when that client is to be "killed" or "stopped". A text with
    one of `forbidden_words` is refused for ever. A new post is not shown for `hidden_for_s`.
    """

    port: int
    ca_file: Path
    fault: Fault = ""
    reset_at: int = 0
    posts: list[Post] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)
    refused_signatures: int = 0
    requests: list[str] = field(default_factory=list)
    refuses_duplicates: bool = True
    script: dict[Step, deque[Fault]] = field(default_factory=dict)
    disturb: Callable[[int, str], None] = lambda _port, _how: None
    forbidden_words: tuple[str, ...] = ()
    hidden_for_s: float = 0.0
    page_size: int = 100
    says: tuple[int, bytes] | None = None
    """To every post, as JSON or not."""
    faults_met: int = 0

    def fault_of(self, step: Step) -> Fault:
        """The next one for a request of *step*."""
        scripted = self.script.get(step)
        if scripted:
            return scripted.popleft()
        return self.fault if step in _OF_ONE_STEP.get(self.fault, ("post",)) else ""

    @property
    def environment(self) -> dict[str, str]:
        """What a bot needs to post here."""
        return {
            "SPEEDTRAP_BOTS_TWITTER_ENABLED": "true",
            "SPEEDTRAP_BOTS_TWITTER_CONSUMER_KEY": CONSUMER_KEY,
            "SPEEDTRAP_BOTS_TWITTER_CONSUMER_SECRET": CONSUMER_SECRET,
            "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN": ACCESS_TOKEN,
            "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN_SECRET": ACCESS_TOKEN_SECRET,
            "SPEEDTRAP_BOTS_TWITTER_CA_FILE": str(self.ca_file),
            "SPEEDTRAP_BOTS_TWITTER_ADDRESS": f"127.0.0.1:{self.port}",
        }


class _Keys(RequestValidator):  # type: ignore[misc]  # oauthlib publishes no types
    """One app, one account; a nonce counts once."""

    dummy_client = dummy_access_token = "a-dummy-of-the-usual-length"
    client_key_length = access_token_length = nonce_length = (8, 64)

    def __init__(self) -> None:
        super().__init__()
        self._nonces: set[tuple[str, str]] = set()

    def validate_client_key(self, client_key: str, _request: Any) -> bool:
        return client_key == CONSUMER_KEY

    def get_client_secret(self, _client_key: str, _request: Any) -> str:
        return CONSUMER_SECRET

    def validate_access_token(self, _client_key: str, token: str, _request: Any) -> bool:
        return token == ACCESS_TOKEN

    def get_access_token_secret(self, _client_key: str, _token: str, _request: Any) -> str:
        return ACCESS_TOKEN_SECRET

    def validate_realms(self, *_arguments: Any, **_more: Any) -> bool:
        return True

    def validate_timestamp_and_nonce(
        self,
        _client_key: str,
        timestamp: str,
        nonce: str,
        _request: Any,
        request_token: str | None = None,  # noqa: ARG002 - oauthlib passes both by name
        access_token: str | None = None,  # noqa: ARG002 - the same
    ) -> bool:
        fresh = abs(time.time() - int(timestamp)) < 300 and (timestamp, nonce) not in self._nonces
        self._nonces.add((timestamp, nonce))
        return fresh


class _Cut(Response):
    """Promises more than it sends, and so ends the connection in the middle."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"data"', "more_body": True})


class _Api:
    """Every handler checks the signature, meets its fault, and does what it was asked to."""

    def __init__(self, lab: XApi) -> None:
        self._lab = lab
        self._check = ResourceEndpoint(_Keys())
        self._ids = itertools.count(1_900_000_000_000_000_001)

    async def upload(self, request: Request) -> Response:
        return await self._serve("upload", request, self._upload)

    async def metadata(self, request: Request) -> Response:
        return await self._serve("metadata", request, self._metadata)

    async def tweet(self, request: Request) -> Response:
        return await self._serve("post", request, self._post)

    async def me(self, request: Request) -> Response:
        return await self._serve("me", request, self._me)

    async def timeline(self, request: Request) -> Response:
        return await self._serve("timeline", request, self._timeline)

    async def _serve(
        self, step: Step, request: Request, act: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if refusal := await self._unsigned(request):
            return refusal
        fault = self._lab.fault_of(step)
        self._lab.faults_met += bool(fault)
        if step == "post" and self._lab.says is not None:
            status, body = self._lab.says
            return Response(body, status, media_type="application/json")
        if (answer := self._unheard(fault)) is not None:
            return answer
        if fault in {"killed", "stopped"}:
            await self._disturb(request, fault)
            return _Cut()
        if fault == "slow":
            await _hung_up(request)
            return Response()
        if fault == "late post":
            await _hung_up(request)
            await asyncio.sleep(LATE_BY_S)
        answer = await act(request)
        return answer if answer.status_code >= 400 else await self._heard(fault, request, answer)

    async def _upload(self, request: Request) -> Response:
        body = await request.json()
        media_id = str(next(self._ids))
        self._lab.media[media_id] = Media(base64.b64decode(body["media"], validate=True))
        return JSONResponse({"data": {"id": media_id, "media_key": f"3_{media_id}"}})

    async def _metadata(self, request: Request) -> Response:
        body = await request.json()
        self._lab.media[body["id"]].alt_text = body["metadata"]["alt_text"]["text"]
        return JSONResponse({"data": {"id": body["id"]}})

    async def _post(self, request: Request) -> Response:
        body = await request.json()
        text = str(body.get("text", ""))
        if not parse_tweet(text).valid:
            return _problem(400, "Your Tweet text is too long or not valid.")
        if any(word in text for word in self._lab.forbidden_words):
            return _problem(403, "You are not permitted to perform this action.")
        if self._lab.refuses_duplicates and any(post.text == text for post in self._lab.posts):
            return _problem(403, _DUPLICATE)
        media = tuple(body.get("media", {}).get("media_ids", ()))
        if any(media_id not in self._lab.media for media_id in media):
            return _problem(400, "Your media IDs are invalid.")
        post = Post(str(next(self._ids)), text, media, datetime.now(UTC))
        self._lab.posts.append(post)
        return JSONResponse({"data": {"id": post.id, "text": post.text}}, 201)

    async def _me(self, _request: Request) -> Response:
        return JSONResponse({"data": {"id": ACCOUNT, "name": "Jane", "username": "jane"}})

    async def _timeline(self, request: Request) -> Response:
        """The newest first, as X shows them: escaped, and with a link for each picture."""
        if request.path_params["account"] != ACCOUNT:
            return _problem(404, "no such account")
        asked = request.query_params
        shown_until = datetime.now(UTC) - timedelta(seconds=self._lab.hidden_for_s)
        posts = [post for post in self._lab.posts[::-1] if post.at <= shown_until]
        count = min(int(asked.get("max_results", 10)), self._lab.page_size)
        # A token names the last post of the page before: what is new meanwhile moves no page.
        before = asked.get("pagination_token", "9" * 20)
        rest = [post for post in posts if int(post.id) < int(before)]
        page = rest[:count]
        data = [
            {
                "id": post.id,
                "text": html.escape(post.text, quote=False)
                + "".join(f" https://t.co/{media[-8:]}" for media in post.media_ids[:1]),
                "created_at": post.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
            for post in page
        ]
        meta: dict[str, Any] = {"result_count": len(data)}
        if len(rest) > count:
            meta["next_token"] = page[-1].id
        return JSONResponse({"data": data, "meta": meta} if data else {"meta": meta})

    def _unheard(self, fault: Fault) -> Response | None:
        """The answer of an X that does not even look at the request."""
        lab = self._lab
        limits = {
            "x-rate-limit-reset": str(lab.reset_at - 3600),
            "x-user-limit-24hour-reset": str(lab.reset_at),
        }
        today = {"x-app-limit-24hour-reset": str(lab.reset_at)}
        answers: dict[str, Response] = {
            "rate limited": _problem(429, "Too Many Requests", limits),
            "rate limited today": _problem(429, "Too Many Requests", today),
            "forbidden": _problem(403, "You are not permitted to perform this action."),
            "used up": _problem(403, "client-not-enrolled: this needs a higher access level"),
            "unpaid": _problem(402, "CreditsDepleted: your account has no credits"),
            "withdrawn": _problem(410, "This API version is gone"),
            "duplicate": _problem(403, _DUPLICATE),
            "unavailable": HTMLResponse("<h1>Over capacity</h1>", 503),
            "upload unavailable": HTMLResponse("<h1>Over capacity</h1>", 503),
            "unreadable": _problem(503, "Over capacity"),
            "half a list": JSONResponse(
                {"data": [], "errors": [{"title": "Partial"}], "meta": {"result_count": 0}}
            ),
            "malformed": JSONResponse(["no", "object"], 400),
            "redirect": RedirectResponse("http://127.0.0.1:9/2/tweets", 307),
            "cut": _Cut(),
        }
        return answers.get(fault)

    async def _heard(self, fault: Fault, request: Request, answer: Response) -> Response:
        """What the client gets to hear of what was done."""
        match fault:
            case "internal error after the post":
                return _problem(500, "Internal Error")
            case "cut after the post":
                return _Cut()
            case "slow after the post":
                await _hung_up(request)
            case "no data":
                return JSONResponse({"errors": [{"message": "something else"}]})
            case "garbage after the post":
                return HTMLResponse("<html>created", 201)
            case "killed after the post" | "stopped after the post":
                await self._disturb(request, fault)
        return answer

    async def _disturb(self, request: Request, fault: Fault) -> None:
        port = request.client.port if request.client else 0
        await asyncio.to_thread(self._lab.disturb, port, fault.split()[0])

    async def _unsigned(self, request: Request) -> Response | None:
        """The refusal when the OAuth 1.0a signature is not right."""
        self._lab.requests.append(f"{request.method} {request.url.path}")
        uri = f"https://{request.headers['host']}{request.url.path}"
        if request.url.query:
            uri += f"?{request.url.query}"
        body = (await request.body()).decode()
        valid, _ = self._check.validate_protected_resource_request(
            uri, request.method, body, dict(request.headers)
        )
        if valid:
            return None
        self._lab.refused_signatures += 1
        return _problem(401, "Unauthorized")


_DUPLICATE = "You are not allowed to create a Tweet with duplicate content."


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(
        {"title": detail, "detail": detail, "status": status, "type": "about:blank"},
        status,
        headers,
    )


@contextmanager
def x_api(folder: Path, port: int) -> Iterator[XApi]:
    """Serves api.twitter.com and api.x.com on loopback *port* until the block ends."""
    authority = trustme.CA()
    ca_file, cert_file = folder / "x-ca.pem", folder / "x.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("api.twitter.com", "api.x.com")
    issued.private_key_and_cert_chain_pem.write_to_path(str(cert_file))
    lab = XApi(port=port, ca_file=ca_file)
    api = _Api(lab)
    app = Starlette(
        routes=[
            Route("/2/media/upload", api.upload, methods=["POST"]),
            Route("/2/media/metadata", api.metadata, methods=["POST"]),
            Route("/2/tweets", api.tweet, methods=["POST"]),
            Route("/2/users/me", api.me),
            Route("/2/users/{account}/tweets", api.timeline),
        ]
    )
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        ssl_certfile=str(cert_file),
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="x-api", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError(f"the X stand-in did not start on port {port}")
        time.sleep(0.01)
    try:
        yield lab
    finally:
        server.should_exit = True
        thread.join()
