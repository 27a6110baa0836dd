"""Addresses as browsers read them: what needs quoting is quoted, the impossible is refused."""

import re
from urllib.parse import urljoin, urlsplit

import httpx

SCHEMES = frozenset({"http", "https", "ws", "wss"})
AROUND = "".join(map(chr, range(0x21)))  # control characters and spaces
INSIDE = re.compile(r"[\t\r\n]")
LABEL = re.compile(r"[a-zA-Z0-9_-]{1,63}")
SHOWN = 200  # characters of an address in a message


def cleaned(text: str, base: str | None = None) -> str:
    """An absolute address that can be asked; raises ValueError, whose text says what is wrong."""
    plain = INSIDE.sub("", text.strip(AROUND))
    before, *query = re.split(r"(?=[?#])", plain, maxsplit=1)
    plain = before.replace("\\", "/") + "".join(query)
    try:
        url = httpx.URL(urljoin(base, plain) if base else plain)
    except (ValueError, httpx.InvalidURL) as error:
        raise ValueError(str(error)) from error
    if url.scheme not in SCHEMES:
        raise ValueError("it has to begin with http:// or https://")
    if not _is_host(url.raw_host.decode("ascii")):
        raise ValueError("it names no host")
    if url.port is not None and not 0 < url.port <= 65_535:
        raise ValueError(f"its port is {url.port}; 1 to 65535 are possible")
    return str(url.copy_with(fragment=None))


def _is_host(host: str) -> bool:
    """An IPv6 address, or labels of a length that names may have."""
    if ":" in host:
        return True  # httpx has read it as an address
    return all(LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))


def shown(text: str) -> str:
    """What a message may say of an address: neither user name, password nor query."""
    try:
        parts = urlsplit(text.strip(AROUND))
    except ValueError:
        return "an address"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:SHOWN] if host else parts.path[:SHOWN]
