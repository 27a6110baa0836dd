"""Cloudflare's speed test by its HTTP endpoints: `__down?bytes=`, `__up`, `meta`.

Their page measures with growing sizes on few connections and takes a percentile; here it is the
engine's mean after the ramp, as with every other tool. It answers 429 to those who ask too often,
and says in `Retry-After` for how long: up to an hour.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from speedtrap_probe.engine import http
from speedtrap_probe.engine.answers import Payload, read_json
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import fetch
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Figures, Server
from speedtrap_probe.tool import Option, Setup, Usable

URL = "https://speed.cloudflare.com/"
DOWNLOAD_BYTES = 25_000_000  # the greatest size that is answered without their page around it
POST_SIZES = (25_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """Download, upload, round trips idle and under load, without the server's thinking time."""

    name: str = "cloudflare"
    internet: bool = True
    options: tuple[Option, ...] = (Option("cloudflare_url", "Cloudflare's speed test", URL),)

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True, http.VERSION)

    def measure(self, setup: Setup) -> Figures:
        url = setup.options.get("cloudflare_url", URL)
        root = Target.of(url.rstrip("/") + "/", setup)
        endpoints = http.Endpoints(
            download=(root.at(f"__down?bytes={DOWNLOAD_BYTES}"),),
            upload=(root.at("__up"),),
            ping=root.at("__down?bytes=0"),
            post_sizes=POST_SIZES,
            server=_server(root),
            payload=Payload(DOWNLOAD_BYTES),
        )
        return http.measure(endpoints, setup)


def colo(document: bytes) -> Server | None:
    """Which data centre answers, of what `meta` says; the visitor's address stays there."""
    told = read_json(document, "Cloudflare's description of itself")
    if not isinstance(told, dict):
        return None
    place = told.get("colo")
    if isinstance(place, dict):  # since 2025; before, the three letters alone
        return Server(_text(place.get("iata")), "Cloudflare", location=_text(place.get("city")))
    return Server(_text(place), "Cloudflare")


def _server(root: Target) -> Server:
    found = None
    with suppress(ToolError):  # an ornament
        # Without its own page in the Referer it answers nothing.
        found = colo(fetch(root.at("meta"), {"Referer": root.url}))
    found = found or Server(name="Cloudflare")
    return Server(found.id, found.name, root.host, found.location)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


TOOL = Cloudflare()
