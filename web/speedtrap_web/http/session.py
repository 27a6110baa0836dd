"""Who is logged in: the caller's own key, sealed in a cookie that only this service can open.

Sessions are not kept here, so any copy of the service can serve any of them, and a key that is
revoked ends its sessions at the next question, because graph is asked with that very key. What is
kept is which sessions were ended by logging out.
"""

import base64
import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import Response

from speedtrap_web.http.ended_sessions import EndedSessions

LIFETIME_S = 12 * 3600
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class Session:
    name: str
    key: str
    id: str = field(default="", compare=False)


class Sessions:
    """Seals and opens the cookie."""

    def __init__(self, secret: str, ended: EndedSessions | None = None) -> None:
        self._ended = ended or EndedSessions()
        digest = hashlib.sha256(b"speedtrap web session\0" + secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def of(self, request: Request) -> Session | None:
        sealed = request.cookies.get(_cookie_name(request))
        if sealed is None:
            return None
        try:
            opened = json.loads(self._fernet.decrypt(sealed.encode(), ttl=LIFETIME_S))
        except InvalidToken:
            return None
        # The id is sealed in: the text of a cookie can be spelled in several ways.
        session = Session(opened["name"], opened["key"], str(opened.get("id", "")))
        return None if not session.id or session.id in self._ended else session

    def begin(self, request: Request, response: Response, session: Session) -> None:
        told = {"name": session.name, "key": session.key, "id": secrets.token_hex(16)}
        sealed = self._fernet.encrypt(json.dumps(told).encode())
        response.set_cookie(
            _cookie_name(request),
            sealed.decode(),
            max_age=LIFETIME_S,
            path="/",
            secure=_is_tls(request),
            httponly=True,
            samesite="lax",
        )

    def end(self, request: Request, response: Response) -> None:
        """For this browser, and for whoever has a copy of its cookie."""
        session = self.of(request)
        if session is not None:
            self._ended.add(session.id, time.time() + LIFETIME_S)
        response.delete_cookie(
            _cookie_name(request), path="/", secure=_is_tls(request), httponly=True, samesite="lax"
        )


def _is_tls(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie_name(request: Request) -> str:
    """Browsers take a `__Host-` cookie over TLS only, and from no other host."""
    return "__Host-speedtrap" if _is_tls(request) else "speedtrap"


def own_path(text: str | None) -> str:
    """*text* if it is a path of this site, else the front page: nobody is sent elsewhere."""
    return text if text and _OWN_PATH.fullmatch(text) else "/"


class Throttle:
    """Slows guessing: at most `most` failures a client in `window_s`, counted in this process."""

    MOST_CLIENTS = 10_000

    def __init__(self, most: int = 5, window_s: float = 60) -> None:
        self._most = most
        self._window_s = window_s
        self._failures: dict[str, list[float]] = {}

    def wait_s(self, client: str) -> int:
        """Seconds until this client may try again; 0 means now."""
        recent = self._recent(client)
        if len(recent) < self._most:
            return 0
        return max(1, round(recent[0] + self._window_s - time.monotonic()))

    def failed(self, client: str) -> None:
        if len(self._failures) >= self.MOST_CLIENTS:
            self._failures.pop(next(iter(self._failures)))
        self._failures[client] = [*self._recent(client), time.monotonic()]

    def succeeded(self, client: str) -> None:
        self._failures.pop(client, None)

    def _recent(self, client: str) -> list[float]:
        after = time.monotonic() - self._window_s
        return [moment for moment in self._failures.get(client, []) if moment > after]
