"""TurnKey Internet's test file, downloaded over several connections.

The first speedtrap timed one GET of `100mb.bin`, slow start and disk included. The size of the
file is not taken on trust: received bytes are counted.
"""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from speedtrap_probe.engine import latency, transfer
from speedtrap_probe.engine.link import SHORT_CONNECT_TIMEOUT_S, Target, follow
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Figures, Server
from speedtrap_probe.tool import Option, Setup, Usable

DEFAULT_URL = "https://speedtest-ny.turnkeyinternet.net/100mb.bin"
FILE_NAME = "100mb.bin"


@dataclass(frozen=True, slots=True)
class Turnkey:
    """Download only; the round trip is that of a HEAD request."""

    name: str = "turnkey"
    internet: bool = True
    options: tuple[Option, ...] = (
        Option("turnkey_url", "the file that turnkey downloads, or its folder", DEFAULT_URL),
    )

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True)

    def measure(self, setup: Setup) -> Figures:
        target = Target(address(setup.options.get("turnkey_url", DEFAULT_URL)), setup.proxy)
        if setup.line_up is False:
            target = replace(target, connect_timeout_s=SHORT_CONNECT_TIMEOUT_S)
        target = follow(target)
        idle = _latency(target, setup)
        got = transfer.download(target, transfer.Window(setup.window_s), setup.progress)
        return Figures(
            download_mbps=got.mbps,
            latency_ms=idle.latency_ms if idle else None,
            jitter_ms=idle.jitter_ms if idle else None,
            bytes_received=got.moved_bytes,
            server=Server(name="TurnKey Internet", host=target.host)
            if target.host.endswith(".turnkeyinternet.net")
            else Server(host=target.host),
        )


def address(configured: str) -> str:
    """The file itself; a folder (or a bare host) means its 100 MB file."""
    path = urlsplit(configured).path
    return (
        configured.rstrip("/") + f"/{FILE_NAME}"
        if path in ("", "/") or path[-1] == "/"
        else configured
    )


def _latency(target: Target, setup: Setup) -> latency.Latency | None:
    try:
        return latency.measure(target, "HEAD", progress=setup.progress)
    except ToolError:
        return None  # some file servers refuse HEAD; the download is what counts


TOOL = Turnkey()
