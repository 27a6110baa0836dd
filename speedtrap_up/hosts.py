"""Which names this machine answers to.

A page elsewhere can have its own name resolve to 127.0.0.1 and then read, through the browser of
whoever looks at it, what is served here (DNS rebinding). Its requests carry its name as their Host.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")
"""Nobody can have these resolved by a public name server, nor names without a dot."""


@dataclass(frozen=True)
class KnownHosts:
    """Wraps an ASGI app: 421 for a Host that is no address, no local name and none of *names*."""

    app: ASGIApp
    names: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        asked = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if all(is_known(host, self.names) for host in asked):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            message = (
                "speedtrap is not known by this name. Name it in SPEEDTRAP_WEB_ALLOWED_HOSTS, or "
                "ask by the machine's address."
            )
            told = {"error": {"code": "UNKNOWN_HOST", "message": message}}
            await JSONResponse(told, 421)(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": "unknown host"})


def is_known(host: str, names: Iterable[str]) -> bool:
    """*host* as in a request's header, with or without a port."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.count(":") == 1 else host
    name = name.lower().removesuffix(".")
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return "." not in name or name.endswith(LOCAL_SUFFIXES) or name in names
    return True
