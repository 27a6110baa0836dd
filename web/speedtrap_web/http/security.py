"""Headers on every answer, and no change on behalf of another site."""

from secure import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    Secure,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

LETTER_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""For the preview of a letter: its own inline styles and embedded pictures, nothing else."""


def explorer_policy(style_nonce: str) -> str:
    """For the GraphQL explorer alone. GraphiQL makes markup of the schema's descriptions, which the
    default policy of its script strips down to bare tags; it writes a style sheet when a dialog
    opens, and carries its fonts inside its own. Scripts come from here only, as everywhere.
    """
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{style_nonce}'; "
        "font-src data:; img-src 'self' data:; connect-src 'self'; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types default"
    )


def _headers(policy: str, frame: XFrameOptions, *, tls: bool) -> dict[str, str]:
    secure = Secure(
        csp=ContentSecurityPolicy().value(policy),
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        hsts=StrictTransportSecurity().max_age(31_536_000) if tls else None,
        permissions=PermissionsPolicy().camera().microphone().geolocation(),
        referrer=ReferrerPolicy().same_origin(),
        xcto=XContentTypeOptions().nosniff(),
        xfo=frame,
    )
    return dict(secure.headers)


class SecurityHeaders:
    """Adds the headers; an answer that brings a policy of its own keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._plain = _headers(PAGE_POLICY, XFrameOptions().deny(), tls=False)
        self._tls = _headers(PAGE_POLICY, XFrameOptions().deny(), tls=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = self._tls if scope["scheme"] == "https" else self._plain

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in wanted.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SameOriginOnly:
    """Refuses a change that another site's page asked for (CSRF).

    Browsers say where a request comes from in Sec-Fetch-Site, older ones in Origin; a request
    with neither comes from no browser and is refused as well.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if changes and not _is_same_origin(Headers(scope=scope), scope["scheme"]):
            response = PlainTextResponse("Refused: asked for by another site.\n", 403)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_same_origin(headers: Headers, scheme: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin == f"{scheme}://{headers.get('host')}"
