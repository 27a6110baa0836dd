"""iperf3, the program, against a server that one names.

Four streams, the first second left out (`-P4 -O1`), the receiver's count, each direction on its
own. Before 3.5 the sum of a download counts the omitted second's bytes: the intervals do not. One
server serves one client at a time: a busy one says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign.complaint import failed, spoken
from speedtrap_probe.model import FailureKind, Figures, Server, positive
from speedtrap_probe.programs.program import Program, binding, on_path, output, program_version
from speedtrap_probe.tool import Option, Setup, Usable

PORT = 5201
STREAMS = 4
OMITTED_S = 1
GRACE_S = 20.0
SAME = 0.01  # the last interval ends a little after the sum
CONNECT_TIMEOUT_MS = 5000
VERSION = r"^iperf (3[\d.]*\d)"
NO_PROGRAM = (
    "iperf3 is not on PATH; get it by your package manager (Debian: apt install iperf3) or from "
    "https://software.es.net/iperf/, or set SPEEDTRAP_PROBE_IPERF3_COMMAND"
)
NO_SERVER = "name a server: SPEEDTRAP_PROBE_IPERF3_SERVER=host or host:port (`iperf3 -s` is one)"


@dataclass(frozen=True, slots=True)
class Iperf3:
    """Download and upload. It has no round trips worth keeping."""

    name: str = "iperf3"
    internet: bool = True
    options: tuple[Option, ...] = (
        Option("iperf3_server", "the iperf3 server to measure against, host or host:port"),
        Option("iperf3_command", "where iperf3 is, if not on PATH"),
    )
    timeout_s: float | None = None

    def usable(self, setup: Setup) -> Usable:
        try:
            program = locate(setup)
            server(setup)
        except ToolError as error:
            return Usable(False, hint=error.failure.message)
        return Usable(True, program.version)

    def measure(self, setup: Setup) -> Figures:
        program = locate(setup)
        host, _port = server(setup)
        down = self._direction(program, setup, ("-R",))
        figures = replace(down, server=Server(host=host), tool_version=program.version)
        try:
            up = self._direction(program, setup, ())
        except ToolError as error:
            raise ToolError(error.failure.kind, error.failure.message, figures) from error
        return replace(figures, upload_mbps=up.upload_mbps, bytes_sent=up.bytes_sent)

    def _direction(self, program: Program, setup: Setup, more: tuple[str, ...]) -> Figures:
        setup.progress("download" if more else "upload", 0)
        timeout_s = self.timeout_s or setup.window_s + OMITTED_S + GRACE_S
        said = output(self.name, program, (*arguments(setup), *more), timeout_s, setup)
        return parse(*said)


def locate(setup: Setup) -> Program:
    """The configured program, or the first `iperf3` on PATH."""
    configured = setup.options.get("iperf3_command")
    for path in [Path(configured)] if configured else on_path("iperf3"):
        if version := program_version(path, VERSION):
            return Program((str(path),), version)
    where = f"{configured} is not iperf3" if configured else NO_PROGRAM
    raise ToolError(FailureKind.TOOL_MISSING, where)


def server(setup: Setup) -> tuple[str, int]:
    """Host and port of the server that one named."""
    named = setup.options.get("iperf3_server")
    if not named:
        raise ToolError(FailureKind.TOOL_MISSING, NO_SERVER)
    try:
        parts = urlsplit(f"//{named}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, PORT
    if not host:
        message = f"iperf3_server is no host and no host:port: {named}"
        raise ToolError(FailureKind.TOOL_FAILED, message)
    return host, port


def arguments(setup: Setup) -> tuple[str, ...]:
    """JSON, four streams for the window after the first second."""
    host, port = server(setup)
    version = () if setup.ip_version == "any" else (f"-{setup.ip_version}",)
    return (
        *("-J", "-c", host, "-p", str(port), "-P", str(STREAMS)),
        *("-O", str(OMITTED_S), "-t", str(max(1, round(setup.window_s)))),
        *("--connect-timeout", str(CONNECT_TIMEOUT_MS)),
        *version,
        *binding(setup, address=("-B", "{}"), interface=("--bind-dev", "{}")),
    )


def parse(exit_code: int, stdout: bytes, stderr: bytes) -> Figures:
    """One direction: which one, iperf3 says itself (`reverse`)."""
    document = next(iter(spoken(stdout).documents), {})
    reverse = bool(_part(_part(document, "start"), "test_start").get("reverse"))
    bits_per_s = _bits_per_s(document, reverse)
    if exit_code != 0 or document.get("error") or bits_per_s is None:
        raise failed("iperf3", exit_code, stdout, stderr, nothing="printed no result")
    mbps, moved = bits_per_s / 1e6, _moved_bytes(document)
    if reverse:
        return Figures(download_mbps=mbps, bytes_received=moved)
    return Figures(upload_mbps=mbps, bytes_sent=moved)


def _bits_per_s(document: Mapping[str, Any], reverse: bool) -> float | None:
    """The receiver's sum. What we received ourselves the intervals tell too, and they never count
    what was to be omitted: where both differ, they are right."""
    received = positive(_part(_part(document, "end"), "sum_received").get("bits_per_second"))
    counted = [one for one in _sums(document) if one.get("omitted") is False]
    seconds = sum(positive(one.get("seconds")) or 0 for one in counted)
    if received is None or not reverse or not seconds:
        return received
    told = 8 * sum(positive(one.get("bytes")) or 0 for one in counted) / seconds
    return received if abs(told - received) <= SAME * received else positive(told)


def _moved_bytes(document: Mapping[str, Any]) -> int | None:
    """What the line carried, the omitted second too."""
    return int(sum(positive(one.get("bytes")) or 0 for one in _sums(document))) or None


def _sums(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    intervals = document.get("intervals")
    rows = intervals if isinstance(intervals, list) else []
    return [_part(row, "sum") for row in rows if isinstance(row, dict)]


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


TOOL = Iperf3()
