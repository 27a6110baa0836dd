"""ddo/fast, a client of fast.com in Go. Download only; no JSON.

With `--silent -m` it prints the Mbps as a bare number. Its release v0.0.4 knows no flags, ignores
them and prints a spinner, then `-> 340.37 Mbps`; below 1 Mbps it says Kbps; above 1,000 Mbps it
says Gbps but forgets to divide, so `1023.45 Gbps` are Mbps. Errors come on stdout. An empty list
of servers reads 0 with exit code 0.
"""

import re
from pathlib import Path

from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures, one_line
from speedtrap_probe.program import CommandTool, Program, on_path
from speedtrap_probe.tool import Option, Setup

RESULT = re.compile(r"(?:->\s*)?(\d+(?:\.\d+)?)\s*([KMG]bps)?")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
MBPS_PER = {"Kbps": 0.001, "Mbps": 1.0, "Gbps": 1000.0}
UNDIVIDED_FROM = 1000  # no home has a terabit: a "Gbps" of 1000 or more was never divided
NETWORK_WORDS = ("internet error", "no such host", "unreachable", "refused", "no route")
HINT = (
    "ddo/fast is not on PATH; get it from https://github.com/ddo/fast/releases, "
    "or set SPEEDTRAP_PROBE_FAST_COMMAND"
)


def locate(setup: Setup) -> Program:
    """The configured program, or the first `fast` on PATH that is not the Node program."""
    configured = setup.options.get("fast_command")
    for path in [Path(configured)] if configured else on_path("fast"):
        try:
            with path.open("rb") as file:
                start = file.readline(200)
        except OSError:
            continue
        if not (start.startswith(b"#!") and b"node" in start):
            return Program((str(path),))
    where = f"{configured} cannot be read as ddo/fast" if configured else HINT
    raise ToolError(FailureKind.TOOL_MISSING, where)


def parse(exit_code: int, stdout: bytes, stderr: bytes) -> Figures:
    """The last line that is a result, in whichever of its formats."""
    text = ESCAPES.sub("", stdout.decode(errors="replace"))
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    found = [match for line in lines if (match := RESULT.fullmatch(line))]
    if exit_code != 0 or not found:
        said = one_line(lines[-1] if lines else stderr.decode(errors="replace"))
        raise ToolError(_kind(said), f"fast: {said or f'printed nothing (exit code {exit_code})'}")
    mbps = mbps_of(float(found[-1][1]), found[-1][2] or "Mbps")
    if mbps <= 0:
        raise ToolError(FailureKind.TOOL_FAILED, "fast: measured nothing and printed 0")
    return Figures(download_mbps=mbps)


def mbps_of(number: float, unit: str) -> float:
    """What the program means by a number and its unit."""
    undivided = unit == "Gbps" and number >= UNDIVIDED_FROM
    return number if undivided else number * MBPS_PER[unit]


def _kind(said: str) -> FailureKind:
    lower = said.lower()
    if any(word in lower for word in NETWORK_WORDS):
        return FailureKind.NO_NETWORK
    if "timeout" in lower or "timed out" in lower:
        return FailureKind.TIMEOUT
    return FailureKind.TOOL_FAILED


TOOL = CommandTool(
    "fast",
    parse,
    locate,
    arguments=lambda _setup: ("--silent", "-m"),
    options=(Option("fast_command", "where ddo/fast is, if not on PATH"),),
)
