"""The real speedtest-cli, against a server of the lab."""

import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.programs.program import Program
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools.speedtest_cli import TOOL

from tests.lab.mini import Behaviour, MiniServer, mini_server
from tests.probe.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


def through(server: MiniServer) -> Setup:
    """speedtest-cli asks www.speedtest.net even with --mini: it gets there by a proxy."""
    return Setup("http://127.0.0.1:1", {"mini_url": server.url + "/"}, proxy=server.url)


def test_the_real_program_measures_both_directions(authority: Authority) -> None:
    with mini_server(tls=authority.server_side("www.speedtest.net")) as server:
        figures = TOOL.measure(through(server))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert figures.latency_ms is not None
    assert figures.bytes_received is not None
    assert figures.tool_version == "2.1.3"
    assert figures.server is not None
    assert figures.server.name == "Speedtest Mini"
    assert any("speedtest-cli/2.1.3" in agent for agent in server.user_agents)


def test_a_download_that_fails_in_the_program_is_absent_and_not_zero(authority: Authority) -> None:
    tls = authority.server_side("www.speedtest.net")
    with mini_server(Behaviour(broken_download=True), tls) as server:
        figures = TOOL.measure(through(server))
    assert figures.download_mbps is None
    assert figures.bytes_received is None
    assert figures.upload_mbps is not None


def test_a_refusal_is_a_rate_limit(authority: Authority) -> None:
    tls = authority.server_side("www.speedtest.net")
    with (
        mini_server(Behaviour(config_status=403), tls) as server,
        pytest.raises(ToolError, match="403") as raised,
    ):
        TOOL.measure(through(server))
    assert raised.value.failure.kind is FailureKind.RATE_LIMITED


def test_a_server_that_is_not_there_is_no_network() -> None:
    setup = Setup("http://127.0.0.1:1", proxy="http://127.0.0.1:1")
    with pytest.raises(ToolError, match="refused") as raised:
        TOOL.measure(setup)
    assert raised.value.failure.kind is FailureKind.NO_NETWORK


def test_a_program_that_is_not_there_is_missing() -> None:
    gone = replace(TOOL, locate=lambda _setup: Program(("/nowhere/speedtest",)))
    with pytest.raises(ToolError, match="could not be started") as raised:
        gone.measure(Setup("http://127.0.0.1:1"))
    assert raised.value.failure.kind is FailureKind.TOOL_MISSING


def test_a_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "hangs.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, pathlib, subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
            print('{{"download": 1}}', flush=True)
            time.sleep(600)
            """
        )
    )
    program = Program((sys.executable, str(script)))
    hanging = replace(TOOL, locate=lambda _setup: program, timeout_s=2.0)
    with pytest.raises(ToolError, match="did not end within 2 s") as raised:
        hanging.measure(Setup("http://127.0.0.1:1"))
    assert raised.value.failure.kind is FailureKind.TIMEOUT
    parent, child = map(int, pids.read_text().split())
    assert not alive(parent)
    assert not alive(child)


def alive(pid: int) -> bool:
    """Whether it still runs; the system may take a moment to bury it."""
    for _ in range(50):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.1)
    return True
