"""TurnKey Internet's test file, downloaded over several connections.

The first speedtrap timed one GET of `100mb.bin`, slow start and disk included. The size of the
file is not taken on trust: received bytes are counted.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from speedtrap_probe.engine import http
from speedtrap_probe.engine.link import follow
from speedtrap_probe.engine.wire import Target
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
        return Usable(True, http.VERSION)

    def measure(self, setup: Setup) -> Figures:
        file = follow(Target.of(address(setup.options.get("turnkey_url", DEFAULT_URL)), setup))
        ours = file.host.endswith(".turnkeyinternet.net")
        endpoints = http.Endpoints(
            download=(file,),
            ping=file,
            ping_method="HEAD",
            must_ping=False,  # some file servers refuse HEAD; the download is what counts
            server=Server(name="TurnKey Internet" if ours else None, host=file.host),
        )
        return http.measure(endpoints, setup)


def address(configured: str) -> str:
    """The file itself; a folder (or a bare host) means its 100 MB file."""
    path = urlsplit(configured).path
    return (
        configured.rstrip("/") + f"/{FILE_NAME}"
        if path in ("", "/") or path[-1] == "/"
        else configured
    )


TOOL = Turnkey()
