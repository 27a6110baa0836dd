"""TurnKey Internet's test file, downloaded over several connections.

The first speedtrap timed one GET of `100mb.bin`, slow start and disk included. The size of the
file is not taken on trust: received bytes are counted.
"""

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from speedtrap_probe.engine import http
from speedtrap_probe.engine.answers import Payload
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import follow
from speedtrap_probe.model import Figures, Server
from speedtrap_probe.tool import Option, Setup, Usable

DEFAULT_URL = "https://speedtest-ny.turnkeyinternet.net/100mb.bin"
FILE_NAME = "100mb.bin"
OTHERS = tuple(
    f"https://speedtest-{where}.turnkeyinternet.net/{FILE_NAME}" for where in ("ca", "co")
)
SIZE_IN_NAME = re.compile(r"(?<![a-z0-9])(\d{1,6})[-_ ]?([kmg])i?b(?![a-z])", re.IGNORECASE)
BYTES_PER = {"k": 1000, "m": 1_000_000, "g": 1_000_000_000}


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
        configured = setup.options.get("turnkey_url", DEFAULT_URL)
        known = (configured, *OTHERS) if configured == DEFAULT_URL else (configured,)
        return http.first_of([partial(self._measure, one, setup) for one in known], setup)

    def _measure(self, configured: str, setup: Setup) -> Figures:
        named = Target.of(configured, setup)
        file = follow(named.at(address(named.url)))
        ours = file.host.endswith(".turnkeyinternet.net")
        endpoints = http.Endpoints(
            download=(file,),
            ping=file,
            ping_method="HEAD",
            must_ping=False,  # some file servers refuse HEAD; the download is what counts
            payload=Payload(named_bytes(file.url), plain_text=True),
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


def named_bytes(url: str) -> int | None:
    """How large the file is by its own name."""
    told = SIZE_IN_NAME.search(urlsplit(url).path.rpartition("/")[2])
    return int(told[1]) * BYTES_PER[told[2].lower()] if told else None


TOOL = Turnkey()
