"""sivel's speedtest-cli, our own dependency, run as the program that it is.

It reports bits per second and half of a request's time as `ping`. Known ways to lie: a direction
that failed is 0 with exit code 0, a server that does not answer has a ping of 1,800,000 ms
(three times 3600 s, over six), bad arguments exit 0 with nothing on stdout.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign.complaint import failed, spoken
from speedtrap_probe.model import FailureKind, Figures, Server, positive
from speedtrap_probe.programs.program import CommandTool, Program, binding
from speedtrap_probe.tool import Option, Setup

NO_ANSWER_PING_MS = 600_000  # one of the three probes failed: 3600 s / 6
ANYWHERE = {"4": "0.0.0.0", "6": "::"}  # noqa: S104 # a source, nothing listens
URLOPEN = re.compile(rb"(?:ERROR: )?<urlopen error (?:\[Errno -?\d+\] )?(.*)>")
# The file by its place, and nothing of the working directory, PYTHONPATH or PYTHON* variables:
# `-m speedtest` would take whatever `speedtest.py` lies there.
ISOLATED = (sys.executable, "-I")


def locate(_setup: Setup) -> Program:
    """The program of our own dependency, whatever else is called `speedtest` here or on PATH."""
    try:
        found = distribution("speedtest-cli")
    except PackageNotFoundError as error:
        raise _missing() from error
    path = Path(str(found.locate_file("speedtest.py")))
    if not path.is_file():
        raise _missing()
    return Program((*ISOLATED, str(path.absolute())), found.version)


def _missing() -> ToolError:
    return ToolError(
        FailureKind.TOOL_MISSING, "not installed; get it by: pip install speedtest-cli"
    )


def arguments(setup: Setup) -> tuple[str, ...]:
    """JSON over TLS, and the user's own server if one is configured."""
    place = binding(setup, address=("--source", "{}"), interface=None)
    if setup.bind is None and setup.ip_version != "any":
        # A source of one IP version is refused by sockets of the other: it tries the next address.
        place = ("--source", ANYWHERE[setup.ip_version])
    if mini := setup.options.get("mini_url"):
        return ("--json", "--secure", *place, "--mini", mini)
    others = (word for id_ in setup.avoid for word in ("--exclude", id_))
    return ("--json", "--secure", *place, *others)


def parse(exit_code: int, stdout: bytes, stderr: bytes) -> Figures:
    """What the program printed, as figures; raises ToolError when there are none."""
    documents = spoken(stdout).documents
    if exit_code != 0 or not documents:
        # "Cannot retrieve speedtest configuration ERROR: <urlopen error [Errno -2] Name …>"
        said = URLOPEN.sub(rb"(\1)", stderr)
        raise failed("speedtest-cli", exit_code, stdout, said)
    document = documents[-1]
    download, upload = positive(document.get("download")), positive(document.get("upload"))
    if download is None and upload is None:
        raise ToolError(
            FailureKind.TOOL_FAILED,
            "speedtest-cli reached its server, but no data came through in either direction",
        )
    ping_ms = positive(document.get("ping"))
    return Figures(
        download_mbps=download / 1e6 if download else None,
        upload_mbps=upload / 1e6 if upload else None,
        latency_ms=ping_ms if ping_ms and ping_ms < NO_ANSWER_PING_MS else None,
        bytes_received=_count(document.get("bytes_received")),
        bytes_sent=_count(document.get("bytes_sent")),
        server=_server(document.get("server")),
    )


def _count(value: object) -> int | None:
    number = positive(value)
    return int(number) if number else None


def _server(value: object) -> Server | None:
    if not isinstance(value, dict):
        return None
    return Server(
        id=_text(value.get("id")),
        name=_text(value.get("sponsor")),
        host=_text(value.get("host")),
        location=_text(value.get("name")),
    )


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "", 0) else None


TOOL = CommandTool(
    "speedtest-cli",
    parse,
    locate,
    arguments,
    options=(
        Option("mini_url", "a Speedtest-Mini-like server to measure against (speedtest-cli)"),
    ),
    own_server="mini_url",
)
