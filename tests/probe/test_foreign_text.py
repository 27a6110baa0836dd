"""The gate for foreign text, in the probe and in the service; and every tool behind it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.services.intake import text as graphs
from speedtrap_graph.services.intake.validate import validate
from speedtrap_probe import run as rounds
from speedtrap_probe.errors import ToolError, UndeliveredError
from speedtrap_probe.files import report
from speedtrap_probe.foreign import text as probes
from speedtrap_probe.model import (
    Conditions,
    Failure,
    FailureKind,
    Figures,
    Measurement,
    Server,
    to_json,
)
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover

from tests.lab import runs
from tests.probe.builders import a_measurement, a_run
from tests.probe.test_tools import module_of

LIMIT = 500
GATES = pytest.mark.parametrize("gate", [probes, graphs], ids=["probe", "graph"])
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJhdWQiOiJtbGFiMSJ9.c2lnbmF0dXJl"
PASSING: list[tuple[str, str]] = [
    ("read tcp 192.0.2.44:51234->198.51.100.9:443: reset", "read tcp [address]->[address]: reset"),
    ("dial [2001:db8:1:2:abcd:ef01:2345:6789]:443: refused", "dial [address]: refused"),
    ("tcp6:2001:db8::1 and fe80::1%eth0: unreachable", "tcp[address] and [address]: unreachable"),
    ("mapped ::ffff:192.0.2.1, alone ::1", "mapped [address], alone [address]"),
    ("cut off at 2001:db8:1:2:3:4:", "cut off at [address]:"),
    ("c-192-0-2-44.hsd1.example.net", "c-[address].hsd1.example.net"),
    ('"macAddr": "02:00:00:00:00:09"', '"macAddr": "[address]"'),
    ("02-00-00-00-00-09, 0200.0000.0009", "[address], [address]"),
    ("http://admin:hunter2@nas.example/speed/?key=1#x failed", "http://nas.example/speed/ failed"),
    ("http://admin:p@ss@192.0.2.1:81/a", "http://[address]/a"),
    ("http://admin:pa/ss@nas.example/a", "http://nas.example/a"),
    ("iperf3_server: admin:hunter2@nas.example:5201", "iperf3_server: nas.example:5201"),
    ("GET /speedtest?c=de&token=abc: 403", "GET /speedtest: 403"),
    (f"wss://m.example/ndt/v7?access_token={TOKEN}", "wss://m.example/ndt/v7"),
    (f"the token {TOKEN} has expired", "the token [removed] has expired"),
    ("YXNkZmFzZGxmbnNkYWZoYXNkZmhrYWxm", "[removed]"),
    ('{"token":"abc","n":1}', '{"token":[removed],"n":1}'),
    ("password=hunter2, Bearer abcdef123456", "password=[removed], Bearer [removed]"),
    ("Authorization: Basic YWRtaW46aHVudGVyMg==\nCookie: a=b; c=d",
     "Authorization: [removed] Cookie: [removed]"),
    ('Permission denied: "/home/someone/.config/ookla"', 'Permission denied: "~/.config/ookla"'),
    ("/Users/someone/Library and /root/x, /var/home/someone", "~/Library and ~/x, ~"),
    ("C:\\Users\\Some One\\AppData\\x.exe", "~\\AppData\\x.exe"),
    ("c:/users/someone is gone", "~ is gone"),
    ('"C:\\\\Users\\\\someone\\\\x"', '"~\\\\x"'),
    ("half \ud800 a character", "half \ufffd a character"),
    ("\x1b[31mred\x1b[0m\r\nnext\x00line\x07", "red nextline"),
    ("turned \u202eround\u202c, 192.0.\u200b2.44", "turned round, [address]"),
]  # fmt: skip
STAYING = [
    "at 18:29:39 [2026-11-20 11:00:22.771]",
    "terminate called after throwing an instance of 'std::runtime_error'",
    "current time 1970-01-01T00:04:11Z is before 2026-01-01T00:00:00Z",
    "https://www.speedtest.net/result/c/0b7c4c56-0000-4000-8000-000000000000",
    "ndt-mlab1-fra03.mlab-oti.measurement-lab.org: 2,297 Mbps",
    "ipv4-c001-fra001-ix.1.oca.nflxvideo.net",
    "the script holds no token any more; Jäven kylä 東京",
    "unexpected RemoteDisconnectedWithoutResponse in 3.11.7: got 1:2:3",
]


@GATES
@pytest.mark.parametrize(("foreign", "expected"), PASSING)
def test_what_is_private_does_not_pass_the_gate(gate: Any, foreign: str, expected: str) -> None:
    assert gate.passed(foreign, LIMIT) == expected
    assert gate.passed(expected, LIMIT) == expected


@GATES
@pytest.mark.parametrize("foreign", STAYING)
def test_what_tells_something_passes_the_gate_as_it_is(gate: Any, foreign: str) -> None:
    assert gate.passed(foreign, LIMIT) == foreign


@GATES
def test_of_long_output_the_telling_end_is_kept(gate: Any) -> None:
    said = gate.passed("a banner " * 10_000 + "ValueError: not enough values", LIMIT)
    assert said.endswith("ValueError: not enough values")
    assert len(said) == LIMIT


@GATES
def test_of_a_name_the_beginning_is_kept_and_an_address_is_none(gate: Any) -> None:
    assert gate.named("Lab " + "x" * 500, 200).startswith("Lab x")
    assert len(gate.named("x" * 500, 200)) == 200
    assert gate.named("192.0.2.1:8080", 200) is None
    assert gate.named("[2001:db8::1]:80", 200) is None


@GATES
def test_a_version_of_four_numbers_is_no_address(gate: Any) -> None:
    assert gate.version("1.2.0.84", 200) == "1.2.0.84"
    assert gate.version("192.0.2.84", 200) is None
    assert gate.version("libfoo 7.88 at /home/someone/lib", 200) == "libfoo 7.88 at ~/lib"


@GATES
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.speedtest.net/result/c/x", "https://www.speedtest.net/result/c/x"),
        ("https://someone:hunter2@a.example/r?id=1#t", "https://a.example/r"),
        ("http://192.0.2.1/result", None),
        ("https://a.example/" + "x" * 600, None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_link_passes_bare_or_not_at_all(gate: Any, url: str, expected: str | None) -> None:
    assert gate.link(url, LIMIT) == expected


PIECES = st.sampled_from([*(foreign for foreign, _ in PASSING), *STAYING, " ", "\n", ":", "@"])


@given(st.lists(PIECES | st.text(max_size=5), max_size=6).map("".join))
def test_both_gates_let_the_same_pass_and_a_second_passing_changes_nothing(foreign: str) -> None:
    once = probes.passed(foreign, LIMIT)
    assert graphs.passed(foreign, LIMIT) == once
    assert graphs.passed(once, LIMIT) == once


# What no failure of any tool may carry, and the marks by which it would be found again.
PLANTED = (
    "192.0.2.44:51234 2001:db8:1:2:abcd:ef01:2345:6789 02:00:00:00:00:09 "
    "http://someone:hunter2@nas.example/?sid=s3cr3t /home/someone/x C:\\Users\\someone\\y "
    f"token=t0ps3cret Bearer {TOKEN} \u202e\x07\ud800"
)
MARKS = ("192.0.2.44", "2001:db8", "02:00:00", "someone", "hunter2", "s3cr3t", TOKEN, "t0ps3cret",
         "\u202e", "\x07", "\ud800")  # fmt: skip
TOOLS = pytest.mark.parametrize("tool", discover().values(), ids=lambda tool: tool.name)


def carries_none_of_it(said: str) -> None:
    assert [mark for mark in MARKS if mark in said] == []


@pytest.mark.parametrize("name", [n for n in discover() if hasattr(module_of(n), "parse")])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_programs_failure_carries_nothing_of_what_it_printed_that_is_private(
    name: str, exit_code: int
) -> None:
    parse: Callable[[int, bytes, bytes], Figures] = module_of(name).parse
    printed = PLANTED.encode(errors="surrogatepass")
    document = b'{"error": "%s", "interface": {"externalIp": "192.0.2.44"}}' % printed[:200]
    for stdout, stderr in ((printed, b""), (b"", printed), (document, b"")):
        with pytest.raises(ToolError) as raised:
            parse(exit_code, stdout, stderr)
        carries_none_of_it(raised.value.failure.message)
        carries_none_of_it(str(raised.value))


@TOOLS
def test_a_tools_failure_carries_no_secret_of_its_settings(tool: Tool) -> None:
    address = "http://someone:hunter2@127.0.0.1:1/speed/?sid=s3cr3t"
    given = {"_url": address, "_server": "someone:hunter2@127.0.0.1:1", "_agree": "yes"}
    options = {
        option.name: value
        for option in tool.options
        for end, value in given.items()
        if option.name.endswith(end)
    }
    with pytest.raises(ToolError) as raised:
        tool.measure(Setup(address, options, line_up=False, window_s=0.5))
    carries_none_of_it(raised.value.failure.message)


class Unexpected:
    """A tool with a bug, whose exception quotes what it met."""

    name, internet, options = "unexpected", True, ()

    def measure(self, _setup: Setup) -> Figures:
        raise KeyError(PLANTED)


class NoWitness:
    def before(self) -> Conditions:
        return Conditions()

    def around(self, _tool: Tool, measure: Callable[[], Measurement]) -> Measurement:
        return measure()

    def after(self, _came_through: bool) -> Conditions:
        return Conditions(notes=(PLANTED,))


def test_a_run_leaves_this_machine_without_anything_private(tmp_path: Path) -> None:
    names = Server(PLANTED, PLANTED, "192.0.2.44", PLANTED)
    figures = Figures(download_mbps=1, server=names, result_url="https://someone:hunter2@a.example")
    failure = Failure(FailureKind.TOOL_FAILED, PLANTED)
    unexpected: Any = Unexpected()
    measured = rounds.measure("laptop", [unexpected], Setup("http://127.0.0.1:1"), NoWitness())
    for run in (a_run(a_measurement("ookla", figures, failure)), measured):
        carries_none_of_it(str(to_json(run)))
        report.append(tmp_path / "report.csv", run)
    carries_none_of_it((tmp_path / "report.csv").read_text(encoding="utf-8"))


def test_the_service_takes_a_run_without_what_is_private_in_it() -> None:
    run = runs.a_run()
    run["measurements"][0] |= {
        "toolVersion": PLANTED[:200],
        "server": dict.fromkeys(("id", "name", "host", "location"), PLANTED[-200:]),
        "resultUrl": "https://someone:hunter2@a.example/?sid=s3cr3t",
        "failure": {"kind": "TOOL_FAILED", "message": PLANTED},
    }
    run["conditions"] |= {"notes": [PLANTED[:200]], "platform": PLANTED[-200:]}
    taken, rejected = validate([run], datetime.now(UTC))
    assert rejected == []
    carries_none_of_it(str(taken))


def test_an_undelivered_run_tells_the_address_and_not_the_password_in_it() -> None:
    said = str(UndeliveredError("http://someone:hunter2@192.0.2.44:8080 cannot be reached"))
    assert said == "http://192.0.2.44:8080 cannot be reached"
