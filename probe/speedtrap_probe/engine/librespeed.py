"""LibreSpeed's HTTP contract: `garbage` sends, `empty` takes and answers at once."""

from contextlib import suppress
from urllib.parse import urljoin

from speedtrap_probe.engine import http, latency
from speedtrap_probe.engine.answers import Payload
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Server

DOWNLOAD_MIB = 100
# LibreSpeed's PHP names first, which its other backends know too; then the bare ones.
SUFFIXES = (".php", "")


def endpoints(root: Target, server: Server | None = None) -> http.Endpoints:
    """Of the server at *root*, whose address ends in a slash; finds its names by asking."""
    suffix = _suffix(root)
    return of(root, f"garbage{suffix}", f"empty{suffix}", f"empty{suffix}", server)


def of(
    root: Target, download: str, upload: str, ping: str, server: Server | None
) -> http.Endpoints:
    """Of a server whose names are known."""
    sized = download + ("&" if "?" in download else "?") + f"ckSize={DOWNLOAD_MIB}"
    return http.Endpoints(
        download=(root.at(sized),),
        upload=(root.at(upload),),
        ping=root.at(ping),
        server=server or Server(host=root.host),
        payload=Payload(DOWNLOAD_MIB << 20),
    )


def folder(url: str) -> str:
    """With the slash at its end that relative names need."""
    return url.rstrip("/") + "/"


def below(url: str, name: str) -> str:
    """The folder *name* of the server at *url*."""
    return folder(urljoin(folder(url), name))


def _suffix(root: Target) -> str:
    first, *others = SUFFIXES
    try:
        latency.measure(root.at(f"empty{first}"), round_trips=0)
    except ToolError as error:
        for suffix in others if "HTTP 404" in str(error) else ():
            with suppress(ToolError):  # the first answer is the one to report
                latency.measure(root.at(f"empty{suffix}"), round_trips=0)
                return suffix
        raise
    return first
