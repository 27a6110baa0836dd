"""What a proxy is told: who asks, and where a tunnel should lead."""

import base64
import socket
from http.client import HTTPResponse
from urllib.parse import unquote, urlsplit

from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

WHO_ARE_YOU = 407


def authorization(proxy: str | None) -> dict[str, str]:
    """The header that a proxy whose address has a user name wants; else none."""
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}


def tunnel(opened: socket.socket, proxy: str, host: str, port: int) -> None:
    """Has the proxy at the other end connect to *host*; raises ToolError when it does not."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    lines += [f"{name}: {value}" for name, value in authorization(proxy).items()]
    opened.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = HTTPResponse(opened, method="CONNECT")
    try:
        answer.begin()
    finally:
        answer.close()
    if answer.status == WHO_ARE_YOU:
        raise unknown_to_it()
    if not 200 <= answer.status < 300:
        message = f"the proxy refused a tunnel to {host}: {answer.status}"
        raise ToolError(FailureKind.NO_NETWORK, message)


def unknown_to_it() -> ToolError:
    """Of a proxy that wants a user name and a password, or others than it got."""
    message = "the proxy does not accept the user name and password of PROXY (HTTP 407)"
    return ToolError(FailureKind.TOOL_FAILED, message)
