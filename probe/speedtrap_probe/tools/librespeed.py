"""LibreSpeed, by an own client of its HTTP protocol, against any server of that kind.

Without a server of one's own, the one of LibreSpeed's public list that answers soonest.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from speedtrap_probe.engine import http, latency, librespeed
from speedtrap_probe.engine.answers import read_json
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import fetch
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures, Server
from speedtrap_probe.tool import Option, Setup, Usable

LIST_URL = "https://librespeed.org/backend-servers/servers.php"
ASKED_AT_ONCE = 16
ASKED_TIMEOUT_S = 2.0
ASKED_TIMES = 3
ASKED_WITHIN_S = 5.0  # all times; who drips must not keep us from the others
LISTED = 200  # looked at of a list that may name any number; it has 50


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of the list: its folder and its own names for what it offers."""

    id: str | None
    name: str | None
    url: str
    download: str
    upload: str
    ping: str


@dataclass(frozen=True, slots=True)
class Librespeed:
    """Download, upload, round trips idle and under load."""

    name: str = "librespeed"
    internet: bool = True
    options: tuple[Option, ...] = (
        Option("librespeed_url", "a LibreSpeed server; default: the nearest of the list"),
        Option("librespeed_list_url", "the list of public LibreSpeed servers", LIST_URL),
    )

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True, http.VERSION)

    def measure(self, setup: Setup) -> Figures:
        if own := setup.options.get("librespeed_url"):
            root = Target.of(librespeed.folder(own), setup)
            return http.measure(librespeed.endpoints(root), setup)
        listed = Target.of(setup.options.get("librespeed_list_url", LIST_URL), setup)
        known = entries(fetch(listed))
        others = [one for one in known if one.id not in setup.avoid]
        return http.measure_first(_nearest(others or known, listed), setup)


def entries(document: bytes) -> list[Entry]:
    """The list as its file has it; entries that lack something are left out."""
    rows = read_json(document, "LibreSpeed's list")
    if not isinstance(rows, list):
        raise ToolError(FailureKind.TOOL_FAILED, "LibreSpeed's list is no list of servers")
    return [one for row in rows[:LISTED] if isinstance(row, dict) and (one := _entry(row))]


def _entry(row: dict[str, Any]) -> Entry | None:
    names = [row.get(name) for name in ("server", "dlURL", "ulURL", "pingURL")]
    if not all(isinstance(name, str) and name.strip() for name in names):
        return None
    url, download, upload, ping = (str(name).strip() for name in names)
    url = f"https:{url}" if url.startswith("//") else url
    told = (_told(row.get("id")), _told(row.get("name")))
    return Entry(*told, librespeed.folder(url), download, upload, ping)


def _told(value: Any) -> str | None:
    """Of what lists put where a number or a name belongs."""
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) or None if known else None


def _nearest(known: Sequence[Entry], listed: Target) -> list[http.Endpoints]:
    """Those that answer, by their round trip; what has no usable address is left out."""
    offers = []
    for one in known:
        with suppress(ToolError):
            offers.append(_endpoints(one, listed))
    if known and not offers:
        message = f"none of LibreSpeed's {len(known)} listed servers has a usable address"
        raise ToolError(FailureKind.TOOL_FAILED, message)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        taken_ms = list(pool.map(_round_trip_ms, offers))
    answered = sorted((ms, number) for number, ms in enumerate(taken_ms) if ms is not None)
    if not answered:
        message = f"none of LibreSpeed's {len(known)} listed servers answers"
        raise ToolError(FailureKind.NO_NETWORK, message)
    return [offers[number] for _ms, number in answered]


def _endpoints(one: Entry, listed: Target) -> http.Endpoints:
    root = listed.listed(one.url)
    server = Server(one.id, one.name, root.host)
    return librespeed.of(root, one.download, one.upload, one.ping, server)


def _round_trip_ms(offer: http.Endpoints) -> float | None:
    shortly = replace(offer.ping, connect_timeout_s=ASKED_TIMEOUT_S)
    try:
        idle = latency.measure(shortly, round_trips=ASKED_TIMES, within_s=ASKED_WITHIN_S)
    except ToolError:
        return None
    return idle.latency_ms if idle else None


TOOL = Librespeed()
