"""Ookla's CLI and ddo/fast as executables that print what the captures recorded."""

import json
import os
import socket
import stat
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from speedtrap_probe.engine import http
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.programs.program import CommandTool, Program, on_path
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover, fast, iperf3, ookla, speedtest_cli

from tests.lab.iperf3 import iperf3_server
from tests.lab.replay import replay_server
from tests.probe.test_tools import module_of

CAPTURES = Path(__file__).parent / "captures"
OOKLA_VERSION = "Speedtest by Ookla 1.2.0.84 (ea6b6773cf) Linux/x86_64-linux-musl"


def an_executable(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{textwrap.dedent(body)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def a_speedtest(folder: Path, version: str, capture: Path | None = None) -> Path:
    """Prints *version* when asked, else what was captured (or nothing, for ever)."""
    said = json.loads(capture.read_text()) if capture else None
    return an_executable(
        folder,
        "speedtest",
        f"""
        if sys.argv[1:] == ["--version"]:
            print({version!r})
            sys.exit()
        said = {said!r}
        if said is None:
            time.sleep(600)
        assert "--accept-license" in sys.argv and "--accept-gdpr" in sys.argv
        sys.stderr.write(said["stderr"])
        sys.stdout.write(said["stdout"])
        sys.exit(said["exit_code"])
        """,
    )


def setup_for(tool: str, path: Path) -> Setup:
    return Setup("http://127.0.0.1:1", {f"{tool}_command": str(path)})


def test_ooklas_first_run_is_read_behind_its_licence_banner(tmp_path: Path) -> None:
    capture = CAPTURES / "ookla" / "first_run_with_licence_banner.json"
    path = a_speedtest(tmp_path, OOKLA_VERSION, capture)
    figures = ookla.TOOL.measure(setup_for("ookla", path))
    assert figures.download_mbps == pytest.approx(512.3)
    assert figures.tool_version == "1.2.0.84"


def test_ooklas_rate_limit_is_named(tmp_path: Path) -> None:
    path = a_speedtest(tmp_path, OOKLA_VERSION, CAPTURES / "ookla" / "rate_limited.json")
    with pytest.raises(ToolError, match="Too many requests") as raised:
        ookla.TOOL.measure(setup_for("ookla", path))
    assert raised.value.failure.kind is FailureKind.RATE_LIMITED


def test_the_python_program_of_the_same_name_is_not_taken_for_ooklas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_speedtest(tmp_path / "first", "speedtest-cli 2.1.3\nPython 3.11")
    theirs = a_speedtest(tmp_path / "second", OOKLA_VERSION)
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert ookla.locate(Setup("http://127.0.0.1:1")).argv == (str(theirs),)


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        (ookla.TOOL, {}),
        (fast.TOOL, {"fast_command": "not-there"}),
        (iperf3.TOOL, {"iperf3_server": "192.0.2.1"}),
    ],
)
def test_a_program_that_is_not_installed_is_missing_and_says_where_it_is_to_be_had(
    tool: Tool, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    setup = Setup("http://127.0.0.1:1", options)
    usable = tool.usable(setup)
    assert not usable.ok
    assert "https://" in (usable.hint or "")
    with pytest.raises(ToolError) as raised:
        tool.measure(setup)
    assert raised.value.failure.kind is FailureKind.TOOL_MISSING


def test_iperf3_without_a_server_says_how_to_name_one() -> None:
    usable = iperf3.TOOL.usable(Setup("http://127.0.0.1:1"))
    assert not usable.ok
    assert "SPEEDTRAP_PROBE_IPERF3_SERVER" in (usable.hint or "")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("iperf.example", ("iperf.example", 5201)),
        ("iperf.example:5202", ("iperf.example", 5202)),
        ("[2001:db8::1]:5202", ("2001:db8::1", 5202)),
    ],
)
def test_iperf3_takes_a_host_with_and_without_a_port(named: str, expected: tuple[str, int]) -> None:
    assert iperf3.server(Setup("http://127.0.0.1:1", {"iperf3_server": named})) == expected


@pytest.mark.parametrize("named", ["host:port", ":5201", "[::1"])
def test_iperf3_refuses_what_is_no_server(named: str) -> None:
    assert not iperf3.TOOL.usable(Setup("http://127.0.0.1:1", {"iperf3_server": named})).ok


def test_the_real_iperf3_measures_both_directions() -> None:
    with iperf3_server() as port:
        setup = Setup("http://127.0.0.1:1", {"iperf3_server": f"127.0.0.1:{port}"}, window_s=1.0)
        figures = iperf3.TOOL.measure(setup)
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert figures.bytes_received
    assert figures.bytes_sent
    assert (figures.tool_version or "").startswith("3.")


def test_the_real_iperf3_without_a_server_has_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ToolError, match="refused") as raised:
        iperf3.TOOL.measure(Setup("http://127.0.0.1:1", {"iperf3_server": closed}))
    assert raised.value.failure.kind is FailureKind.NO_NETWORK


DDOS_LINE = "print('\\r\\x1b[2K -> 340.37 Mbps')"
ELSEWHERE = {"fast_url": "http://127.0.0.1:1/"}


def test_a_named_ddo_fast_is_asked_without_flags(tmp_path: Path) -> None:
    path = an_executable(tmp_path, "fast", f"assert not sys.argv[1:]; {DDOS_LINE}")
    figures = fast.TOOL.measure(setup_for("fast", path))
    assert (figures.download_mbps, figures.tool_version) == (340.37, "ddo/fast")


@pytest.mark.parametrize(
    "start",
    ["#!/usr/bin/env node\nconsole.log('340 Mbps')\n",
     '#!/bin/sh\nbasedir=$(dirname "$0")\nexec node "$basedir/cli.js" "$@"\n'],
    ids=["node", "shim"],
)  # fmt: skip
def test_the_node_program_of_the_same_name_is_not_taken_for_ddos(
    start: str, tmp_path: Path
) -> None:
    path = an_executable(tmp_path, "fast", "")
    path.write_text(start)
    with pytest.raises(ToolError, match="cannot be read as ddo/fast"):
        fast.TOOL.measure(setup_for("fast", path))


def test_a_program_that_nobody_named_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_executable(tmp_path, "fast", f"open({str(tmp_path / 'ran')!r}, 'w'); print('42')")
    monkeypatch.setenv("PATH", str(tmp_path))
    setup = Setup("http://127.0.0.1:1", ELSEWHERE)
    assert fast.TOOL.usable(setup).version == http.VERSION
    with pytest.raises(ToolError):
        fast.TOOL.measure(setup)
    assert not (tmp_path / "ran").exists()


def test_a_named_ddo_fast_steps_aside_where_the_line_to_measure_was_chosen(tmp_path: Path) -> None:
    setup = setup_for("fast", an_executable(tmp_path, "fast", ""))
    assert fast.TOOL.usable(setup).version == "ddo/fast"
    assert fast.TOOL.usable(replace(setup, ip_version="6")).version == http.VERSION
    assert fast.TOOL.usable(replace(setup, bind="eth0")).version == http.VERSION
    assert fast.TOOL.usable(replace(setup, options={"fast_command": "none"})).ok


@pytest.mark.parametrize("body", ["print('42')", "print('panic: no'); sys.exit(2)"])
def test_where_ddos_fast_fails_our_own_client_measures(body: str, tmp_path: Path) -> None:
    path = an_executable(tmp_path, "fast", body)
    capture = json.loads((CAPTURES / "fast" / "api_good.json").read_text())
    with replay_server(capture["answers"]) as server:
        options = {n: v.replace("{url}", server.url) for n, v in capture["options"].items()}
        setup = Setup(server.url, options | {"fast_command": str(path)}, window_s=0.5)
        figures = fast.TOOL.measure(setup)
    assert figures.tool_version == http.VERSION
    assert figures.upload_mbps


def test_where_our_own_client_fails_too_both_reasons_are_told(tmp_path: Path) -> None:
    path = an_executable(tmp_path, "fast", "print('panic: no'); sys.exit(2)")
    options = ELSEWHERE | {"fast_command": str(path)}
    with pytest.raises(ToolError, match=r"before that, fast: panic: no"):
        fast.TOOL.measure(Setup("http://127.0.0.1:1", options))


@pytest.mark.parametrize("name", ["speedtest.py", "socket.py", "json.py"])
def test_files_of_the_working_directory_are_not_taken_for_speedtest_clis(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"
    (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ToolError, match="refused"):
        speedtest_cli.TOOL.measure(Setup("http://127.0.0.1:1", proxy="http://127.0.0.1:1"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("entry", ["", "."])
def test_a_program_of_the_working_directory_is_not_on_path(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_speedtest(tmp_path, OOKLA_VERSION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
    assert not [one for one in on_path("speedtest") if one.absolute().parent == tmp_path]


# Whatever its name: these print something else than the program that is meant, and end well.
FOREIGN = {
    "a number": "42\n",
    "a number with its unit": "42 Mbps\n",
    "another program's JSON": '{"download": 42}\n[{"speed": 42}]\n',
    "a web page": "<html><body>42 Mbps</body></html>\n",
    "nothing": "",
}
PROGRAMS = [name for name in discover() if hasattr(module_of(name), "parse")]


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_another_program_prints_is_no_figure(name: str, said: str) -> None:
    if name == "speedtest-cli" and said.startswith('{"download"'):
        said = '{"speed": 42}\n'  # its own results look like the other
    with pytest.raises(ToolError) as raised:
        module_of(name).parse(0, said.encode(), b"")
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED


# What libraries under these programs say, on whichever stream: (what, its kind).
SAID = {
    "dial tcp: lookup a.example on 192.0.2.1:53: server misbehaving": FailureKind.NO_NETWORK,
    "dial tcp: lookup a.example: no such host": FailureKind.NO_NETWORK,
    "connect: network is unreachable": FailureKind.NO_NETWORK,
    "Name or service not known": FailureKind.NO_NETWORK,
    "Temporary failure in name resolution": FailureKind.NO_NETWORK,
    "Couldn't resolve host name": FailureKind.NO_NETWORK,
    "connect: connection refused": FailureKind.NO_NETWORK,
    "No route to host": FailureKind.NO_NETWORK,
    "read: i/o timeout": FailureKind.TIMEOUT,
    "The operation timed out": FailureKind.TIMEOUT,
    "Too many requests received": FailureKind.RATE_LIMITED,
    "HTTP Error 429": FailureKind.RATE_LIMITED,
    "unexpected end of file": FailureKind.TOOL_FAILED,
}
FORMS = {
    "plain": "{}\n",
    "logged": "[2026-11-20 11:00:22.771] [error] {}\n[2026-11-20 11:00:23] [error] It failed (0)\n",
    "behind a licence": "=" * 78 + "\n\nYou may\n\n" + "=" * 78 + "\n\n{}\n",
    "before a usage": "{}\n\nIt cannot go on.\n",
}


@pytest.mark.parametrize("on_stderr", [True, False], ids=["stderr", "stdout"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_error_is_read_from_the_stream_that_it_is_written_to(
    name: str, form: str, on_stderr: bool
) -> None:
    for what, kind in SAID.items():
        said = form.format(what).encode()
        with pytest.raises(ToolError) as raised:
            module_of(name).parse(1, *((b"", said) if on_stderr else (said, b"")))
        assert raised.value.failure.kind is kind, what
        assert what.replace("192.0.2.1:53", "[address]") in raised.value.failure.message


@pytest.mark.parametrize("name", PROGRAMS)
def test_errors_in_json_are_read_from_either_stream(name: str) -> None:
    said = json.dumps({"type": "log", "level": "error", "message": "Cannot open socket: timeout"})
    for streams in ((said.encode(), b"<html>"), (b"", said.encode())):
        with pytest.raises(ToolError, match="Cannot open socket") as raised:
            module_of(name).parse(1, *streams)
        assert raised.value.failure.kind is FailureKind.NO_NETWORK


def test_a_slow_program_is_waited_for(tmp_path: Path) -> None:
    path = an_executable(tmp_path, "fast", f"time.sleep(1); {DDOS_LINE}")
    assert fast.TOOL.measure(setup_for("fast", path)).download_mbps == 340.37


FAST, OOKLA, PYTHONS = fast.TOOL.ddo, ookla.TOOL, speedtest_cli.TOOL
HANGS = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({pids!r}, "w").write(f"{{__import__('os').getpid()}} {{child.pid}}")
print("loading", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("tool", [OOKLA, FAST, PYTHONS], ids=lambda tool: tool.name)
def test_a_hanging_program_is_ended_at_its_deadline_with_its_children(
    tool: CommandTool, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    path = an_executable(tmp_path, "hangs", HANGS.format(pids=str(pids)))
    hanging = replace(tool, timeout_s=1.5, locate=lambda _setup: Program((str(path),)))
    with pytest.raises(ToolError, match=r"did not end within 1\.5 s") as raised:
        hanging.measure(Setup("http://127.0.0.1:1"))
    assert raised.value.failure.kind is FailureKind.TIMEOUT
    both = [int(pid) for pid in pids.read_text().split()]
    gone, alive = psutil.wait_procs([psutil.Process(p) for p in both if psutil.pid_exists(p)], 5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE], gone


def test_a_hanging_iperf3_is_ended_at_its_deadline(tmp_path: Path) -> None:
    path = an_executable(
        tmp_path,
        "iperf3",
        "print('iperf 3.12') if '--version' in sys.argv else time.sleep(600)",
    )
    options = {"iperf3_server": "192.0.2.1", "iperf3_command": str(path)}
    with pytest.raises(ToolError, match="did not end within 1 s") as raised:
        replace(iperf3.TOOL, timeout_s=1.0).measure(Setup("http://127.0.0.1:1", options))
    assert raised.value.failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("arguments", "by_address", "by_interface"),
    [
        (ookla.arguments, "--ip=192.0.2.9", "--interface=eth7"),
        (speedtest_cli.arguments, "--source 192.0.2.9", None),
        (iperf3.arguments, "-B 192.0.2.9", "--bind-dev eth7"),
    ],
)
def test_programs_are_told_where_to_measure_from(
    arguments: Callable[[Setup], tuple[str, ...]], by_address: str, by_interface: str | None
) -> None:
    setup = Setup("http://127.0.0.1:1", {"iperf3_server": "192.0.2.1"}, bind="192.0.2.9")
    assert by_address in " ".join(arguments(setup))
    if by_interface is None:
        with pytest.raises(ToolError, match="set bind to that interface's address"):
            arguments(replace(setup, bind="eth7"))
    else:
        assert by_interface in " ".join(arguments(replace(setup, bind="eth7")))


def test_ookla_measures_again_on_another_server_of_its_list(tmp_path: Path) -> None:
    listed = {"type": "serverList", "servers": [{"id": 11, "name": "A"}, {"id": 22, "name": "B"}]}
    path = an_executable(
        tmp_path,
        "speedtest",
        f"""
        if sys.argv[1:] == ["--version"]:
            print({OOKLA_VERSION!r})
        elif "--servers" in sys.argv:
            print({json.dumps(listed)!r})
        """,
    )
    setup = replace(setup_for("ookla", path), avoid=("11",))
    assert "--server-id=22" in ookla.arguments(setup)
    assert not any("server-id" in word for word in ookla.arguments(replace(setup, avoid=())))


def test_ookla_chooses_as_ever_where_its_list_cannot_be_had(tmp_path: Path) -> None:
    path = a_speedtest(tmp_path, OOKLA_VERSION, CAPTURES / "ookla" / "rate_limited.json")
    setup = replace(setup_for("ookla", path), avoid=("11",))
    assert not any("server-id" in word for word in ookla.arguments(setup))
