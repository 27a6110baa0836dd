"""fast.com, Netflix's servers: an own client of its API, or ddo/fast where one names it.

ddo/fast (in Go) measures the download only and prints no JSON; any program may be called `fast`, so
none is run that was not named, and nothing is believed but the line that ddo/fast alone writes:
`-> 340.37 Mbps`, behind a spinner. It is asked without flags: with them it prints a bare number.
Below 1 Mbps it says Kbps; above 1,000 Mbps v0.0.4 says Gbps but forgets to divide, so
`1023.45 Gbps` are Mbps. Errors come on stdout. Where it fails, the own client measures.

The API: a token in the page's script, with it a list of addresses; they send to GET, take by POST.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from speedtrap_probe.engine import http, latency
from speedtrap_probe.engine.answers import Payload, read_json
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import fetch
from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign.complaint import failed, spoken
from speedtrap_probe.model import FailureKind, Figures, Server
from speedtrap_probe.programs.program import CommandTool, Program, on_path
from speedtrap_probe.tool import Option, Setup, Usable

PAGE_URL = "https://fast.com/"
API_URL = "https://api.fast.com/netflix/speedtest/v2"
PIECE_BYTES = 25 << 20  # what one request may ask for, or bring
POST_SIZES = (PIECE_BYTES, 1 << 20)
SERVERS = 5
LISTED = 50  # looked at of a list that may name any number
# Both the text and what a pattern takes of it are bounded: they are a stranger's.
PAGE_CHARACTERS, SCRIPT_CHARACTERS = 1 << 17, 1 << 21  # of 1 and 200 kB in 2026
SCRIPT = re.compile(r"""src=["']([^"']{1,500})["']""")
SCRIPT_NAME = re.compile(r"app-[\w.-]{1,200}\.js\Z")
TOKEN = re.compile(r"""\btoken\s{0,8}[:=]\s{0,8}["']([\w.-]{1,500})["']""")
DDO = "ddo/fast"
RESULT = re.compile(r"->\s*(\d+(?:\.\d+)?)\s*([KMG]bps)")
MBPS_PER = {"Kbps": 0.001, "Mbps": 1.0, "Gbps": 1000.0}
UNDIVIDED_FROM = 1000  # no home has a terabit: a "Gbps" of 1000 or more was never divided


@dataclass(frozen=True, slots=True)
class Fast:
    """Which of the two measured, `tool_version` says."""

    name: str = "fast"
    internet: bool = True
    options: tuple[Option, ...] = (
        Option("fast_command", "ddo/fast, to measure with it first; else the own client does"),
        Option("fast_url", "fast.com's page", PAGE_URL),
        Option("fast_api_url", "fast.com's list of servers", API_URL),
    )
    ddo: CommandTool = field(default_factory=lambda: CommandTool("fast", parse, locate))

    def usable(self, setup: Setup) -> Usable:
        return self.ddo.usable(setup) if named(setup) else Usable(True, http.VERSION)

    def measure(self, setup: Setup) -> Figures:
        if not named(setup):
            return http.measure_first(_offers(setup), setup)
        locate(setup)  # a wrong setting is said, and not passed over
        try:
            return self.ddo.measure(setup)
        except ToolError as error:
            return self._instead(error, setup)

    def _instead(self, error: ToolError, setup: Setup) -> Figures:
        try:
            return http.measure_first(_offers(setup), setup)
        except ToolError as own:
            message = f"{own.failure.message} (before that, {error.failure.message})"
            raise ToolError(own.failure.kind, message, own.figures) from error


def named(setup: Setup) -> bool:
    """ddo/fast is to be used, and need not be told an interface or an IP version: it takes none."""
    if setup.bind is not None or setup.ip_version != "any":
        return False
    return setup.options.get("fast_command") not in (None, "none")


def locate(setup: Setup) -> Program:
    """The configured program, unless it is the Node program of the same name."""
    configured = setup.options.get("fast_command", "none")
    is_path = Path(configured).name != configured
    for path in [Path(configured).absolute()] if is_path else on_path(configured):
        if not _is_node(path):
            return Program((str(path),), DDO)
    hint = "get it from https://github.com/ddo/fast/releases"
    message = f"{configured} cannot be read as ddo/fast; {hint}"
    raise ToolError(FailureKind.TOOL_MISSING, message)


def _is_node(path: Path) -> bool:
    """A script, of npm or of a package manager's making; or nothing that can be read."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return True
    return start.startswith(b"#!") and b"node" in start


def parse(exit_code: int, stdout: bytes, stderr: bytes) -> Figures:
    """The last line that is a result."""
    results = [match for line in spoken(stdout).lines if (match := RESULT.fullmatch(line))]
    if exit_code != 0 or not results:
        raise failed("fast", exit_code, stdout, stderr)
    mbps = mbps_of(float(results[-1][1]), results[-1][2])
    if mbps <= 0:
        raise ToolError(FailureKind.TOOL_FAILED, "fast: measured nothing and printed 0")
    return Figures(download_mbps=mbps)


def mbps_of(number: float, unit: str) -> float:
    """What the program means by a number and its unit."""
    undivided = unit == "Gbps" and number >= UNDIVIDED_FROM
    return number if undivided else number * MBPS_PER[unit]


def script_of(page: str) -> str:
    """The address of the page's script."""
    for match in SCRIPT.finditer(page[:PAGE_CHARACTERS]):
        if SCRIPT_NAME.search(match[1]):
            return match[1]
    raise ToolError(FailureKind.TOOL_FAILED, "fast.com's page names no script any more")


def token_of(script: str) -> str:
    """The token that the page's script shows to the API."""
    match = TOKEN.search(script[:SCRIPT_CHARACTERS])
    if match is None:
        raise ToolError(FailureKind.TOOL_FAILED, "fast.com's script holds no token any more")
    return match[1]


def targets_of(document: bytes) -> list[tuple[str, str | None]]:
    """Each server's address and where it stands."""
    told = read_json(document, "fast.com's list")
    rows = told.get("targets") if isinstance(told, dict) else None
    listed = rows[:LISTED] if isinstance(rows, list) else ()
    targets = [(row["url"], _place(row)) for row in listed if _has_url(row)]
    if not targets:
        raise ToolError(FailureKind.TOOL_FAILED, "fast.com offers no server")
    return targets


def ranged(url: str, size: int) -> str:
    """The address that sends *size* bytes: `…/speedtest/range/0-<last>?…`."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/range/0-{size}"
    return urlunsplit(parts._replace(path=path))


def _offers(setup: Setup) -> list[http.Endpoints]:
    """All servers together that take our question; then, should one of them fail, each alone."""
    page = Target.of(setup.options.get("fast_url", PAGE_URL), setup)
    script = page.at(script_of(fetch(page).decode(errors="replace")))
    token = token_of(fetch(script).decode(errors="replace"))
    asked = urlencode({"https": "true", "token": token, "urlCount": SERVERS})
    api = Target.of(f"{setup.options.get('fast_api_url', API_URL)}?{asked}", setup)
    offered = []
    for url, place in targets_of(fetch(api)):
        with suppress(ToolError):  # an address that nobody can ask
            offered.append((api.listed(url), place))
    if not offered:
        raise ToolError(FailureKind.TOOL_FAILED, "fast.com offers no server with a usable address")
    others = [one for one in offered if one[0].host not in setup.avoid] or offered
    willing = _willing(others[:SERVERS])
    alone = [_endpoints([one]) for one in willing] if len(willing) > 1 else []
    return [_endpoints(willing), *alone]


def _willing(offered: Sequence[tuple[Target, str | None]]) -> list[tuple[Target, str | None]]:
    """Those that answer a small request; what the first says where none does is raised."""
    with ThreadPoolExecutor(len(offered)) as pool:
        refused = list(pool.map(_refusal, [host for host, _place in offered]))
    willing = [one for one, error in zip(offered, refused, strict=True) if error is None]
    if not willing and (first := refused[0]):
        raise first
    return willing


def _refusal(host: Target) -> ToolError | None:
    try:
        latency.measure(host.at(ranged(host.url, 0)), round_trips=0)
    except ToolError as error:
        return error
    return None


def _endpoints(hosts: Sequence[tuple[Target, str | None]]) -> http.Endpoints:
    first, place = hosts[0]
    return http.Endpoints(
        download=[host.at(ranged(host.url, PIECE_BYTES)) for host, _place in hosts],
        upload=[host.at(ranged(host.url, 0)) for host, _place in hosts],
        ping=first.at(ranged(first.url, 0)),
        post_sizes=POST_SIZES,
        server=Server(first.host, "fast.com", first.host, place),
        payload=Payload(PIECE_BYTES),
    )


def _has_url(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("url"), str) and "://" in row["url"]


def _place(row: dict[str, Any]) -> str | None:
    where = row.get("location")
    if not isinstance(where, dict):
        return None
    told = [str(where[name]) for name in ("city", "country") if where.get(name)]
    return ", ".join(told) or None


TOOL = Fast()
