"""Ookla's official CLI. It reports bytes per second and loss in percent.

A result that contradicts itself (`bandwidth` against `bytes` in `elapsed` milliseconds) is none.

Personal, non-commercial use by its terms, which running it here accepts. The first run prints a
licence banner before the result. Both it and speedtest-cli are called `speedtest`: they are told
apart by `--version`.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign.complaint import failed, spoken
from speedtrap_probe.line.way import version_of
from speedtrap_probe.model import FailureKind, Figures, Server, positive
from speedtrap_probe.programs.program import (
    CommandTool,
    Program,
    binding,
    on_path,
    output,
    program_version,
)
from speedtrap_probe.tool import Option, Setup

BYTES_PER_S_PER_MBPS = 125_000
LIMIT_REACHED = 173
VERSION = r"^Speedtest by Ookla (\d[\d.]*\d)"
ARGUMENTS = ("--format=json", "--progress=no", "--accept-license", "--accept-gdpr")
LIST_TIMEOUT_S = 20.0
# Its rate leaves out the slow start and so lies above its mean, by up to a third as seen; a burst
# at the beginning can put it below.
MOST_OF_MEAN, LEAST_OF_MEAN = 1.5, 0.5
HINT = (
    "Ookla's speedtest is not on PATH; get it from https://www.speedtest.net/apps/cli, "
    "or set SPEEDTRAP_PROBE_OOKLA_COMMAND"
)


def locate(setup: Setup) -> Program:
    """The configured program, or the first `speedtest` on PATH that is Ookla's."""
    configured = setup.options.get("ookla_command")
    for path in [Path(configured)] if configured else on_path("speedtest"):
        if version := program_version(path, VERSION):
            return Program((str(path),), version)
    where = f"{configured} is not Ookla's speedtest" if configured else HINT
    raise ToolError(FailureKind.TOOL_MISSING, where)


def arguments(setup: Setup) -> tuple[str, ...]:
    """JSON without a terminal, from the chosen place, with another server than those to avoid.

    It has no choice of IP version but by the address that it is bound to.
    """
    if setup.ip_version != "any" and (setup.bind is None or version_of(setup.bind) is None):
        message = f"ookla cannot be told IPv{setup.ip_version}: set bind to an address of that kind"
        raise ToolError(FailureKind.SKIPPED, message)
    place = binding(setup, address=("--ip={}",), interface=("--interface={}",))
    return (*ARGUMENTS, *place, *_elsewhere(setup, place))


def others(stdout: bytes, avoid: Collection[str]) -> list[str]:
    """The ids of `--servers`, the nearest first, without those to avoid."""
    listed = (document.get("servers") for document in spoken(stdout).documents)
    rows = [row for servers in listed if isinstance(servers, list) for row in servers]
    ids = [str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")]
    return [id_ for id_ in ids if id_ not in avoid]


def _elsewhere(setup: Setup, place: tuple[str, ...]) -> tuple[str, ...]:
    """Names another server; where its list cannot be had, the program chooses as ever."""
    if not setup.avoid:
        return ()
    asked = (*ARGUMENTS, *place, "--servers")
    try:
        _exit_code, stdout, _stderr = output("ookla", locate(setup), asked, LIST_TIMEOUT_S, setup)
    except ToolError:
        return ()
    return tuple(f"--server-id={id_}" for id_ in others(stdout, setup.avoid)[:1])


def parse(exit_code: int, stdout: bytes, stderr: bytes) -> Figures:
    """Reads the last result among the JSON documents; raises ToolError when there is none."""
    documents = spoken(stdout).documents
    results = [one for one in documents if one.get("type") == "result"]
    if exit_code != 0 or not results:
        limited = FailureKind.RATE_LIMITED if exit_code == LIMIT_REACHED else None
        raise failed("ookla", exit_code, stdout, stderr, kind=limited)
    result = results[-1]
    down, up, ping = (_part(result, name) for name in ("download", "upload", "ping"))
    figures = Figures(
        download_mbps=_mbps(down),
        upload_mbps=_mbps(up),
        latency_ms=positive(ping.get("latency")),
        jitter_ms=_from_zero(ping.get("jitter")),
        packet_loss_ratio=_loss(result.get("packetLoss")),
        loaded_latency_down_ms=positive(_part(down, "latency").get("iqm")),
        loaded_latency_up_ms=positive(_part(up, "latency").get("iqm")),
        bytes_received=_count(down),
        bytes_sent=_count(up),
        server=_server(_part(result, "server")),
        result_url=_link(_part(result, "result")),
    )
    _check("download", down, figures)
    _check("upload", up, figures)
    if figures.download_mbps is None and figures.upload_mbps is None:
        raise ToolError(FailureKind.TOOL_FAILED, "ookla: no data came through in either direction")
    return figures


def _check(name: str, direction: Mapping[str, Any], figures: Figures) -> None:
    """Raises ToolError where a rate is not that of its own bytes in their time."""
    mbps, elapsed_ms = _mbps(direction), positive(direction.get("elapsed"))
    moved = _count(direction)
    if mbps is None or elapsed_ms is None or moved is None:
        return
    mean_mbps = moved * 8 / 1e3 / elapsed_ms
    if LEAST_OF_MEAN * mean_mbps < mbps < MOST_OF_MEAN * mean_mbps:
        return
    message = (
        f"ookla: its {name} of {mbps:,.1f} Mbps cannot be: it counted {moved:,} bytes in "
        f"{elapsed_ms / 1000:,.1f} s, which is {mean_mbps:,.1f} Mbps"
    )
    counted = Figures(
        bytes_received=figures.bytes_received, bytes_sent=figures.bytes_sent, server=figures.server
    )
    raise ToolError(FailureKind.TOOL_FAILED, message, counted)


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _mbps(direction: Mapping[str, Any]) -> float | None:
    bandwidth = positive(direction.get("bandwidth"))
    return bandwidth / BYTES_PER_S_PER_MBPS if bandwidth else None


def _count(direction: Mapping[str, Any]) -> int | None:
    number = positive(direction.get("bytes"))
    return int(number) if number else None


def _from_zero(value: object) -> float | None:
    """Jitter and loss may truly be 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _loss(percent: object) -> float | None:
    known = _from_zero(percent)
    return known / 100 if known is not None and known <= 100 else None


def _server(server: Mapping[str, Any]) -> Server | None:
    told = {name: server.get(name) for name in ("id", "name", "host", "location")}
    known = {name: str(value) for name, value in told.items() if value}
    return Server(**known) if known else None


def _link(result: Mapping[str, Any]) -> str | None:
    url = result.get("url")
    return url if isinstance(url, str) and url.startswith("https://") else None


TOOL = CommandTool(
    "ookla",
    parse,
    locate,
    arguments=arguments,
    options=(Option("ookla_command", "where Ookla's speedtest is, if not on PATH"),),
)
