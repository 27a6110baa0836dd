"""BIND and IP_VERSION: where the packets really come from, as the servers see it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from speedtrap_probe.engine.connection.wire import Target, tcp_connect
from speedtrap_probe.errors import ToolError
from speedtrap_probe.line.connectivity import Address, Connectivity, check
from speedtrap_probe.line.way import Way
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import iperf3, lan, librespeed, ndt7, ookla, speedtest_cli, turnkey

from tests.lab.iperf3 import iperf3_server
from tests.lab.mini import mini_server
from tests.lab.ndt7 import ndt7_server
from tests.lab.peers import Door, door
from tests.lab.speed import speed_server
from tests.probe.certificates import Authority

ELSEWHERE = "127.0.0.7"  # all of 127.0.0.0/8 is this machine
Place = tuple[Door, Setup]
Opening = Callable[[], AbstractContextManager[Place]]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


@contextmanager
def speed(option: str, path: str = "") -> Iterator[Place]:
    with speed_server() as server, door(port_of(server.url)) as before:
        yield before, Setup(before.url, {option: before.url + path}, window_s=1.0)


@contextmanager
def m_lab() -> Iterator[Place]:
    with ndt7_server() as server, door(port_of(server.url)) as before:
        yield before, Setup(before.url, {"ndt7_url": before.url}, window_s=1.0)


@contextmanager
def iperf() -> Iterator[Place]:
    with iperf3_server() as port, door(port) as before:
        options = {"iperf3_server": f"127.0.0.1:{before.port}"}
        yield before, Setup(before.url, options, window_s=1.0)


PLACES: list[tuple[Tool, Opening]] = [
    (lan.TOOL, lambda: speed("lan_url", "/speed/")),
    (turnkey.TOOL, lambda: speed("turnkey_url", "/100mb.bin")),
    (librespeed.TOOL, lambda: speed("librespeed_url", "/speed/")),
    (ndt7.TOOL, m_lab),
    (iperf3.TOOL, iperf),
]


@pytest.mark.parametrize(("tool", "place"), PLACES, ids=[tool.name for tool, _ in PLACES])
def test_all_of_a_measurement_leaves_from_the_address_that_was_named(
    tool: Tool, place: Opening
) -> None:
    with place() as (before, setup):
        figures = tool.measure(replace(setup, bind=ELSEWHERE))
    assert figures.download_mbps is not None
    assert before.peers == {ELSEWHERE}


def test_speedtest_cli_leaves_from_the_address_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with (
        mini_server(tls=authority.server_side("www.speedtest.net")) as server,
        door(port_of(server.url)) as before,
    ):
        setup = Setup(before.url, {"mini_url": before.url + "/"}, proxy=before.url, bind=ELSEWHERE)
        figures = speedtest_cli.TOOL.measure(setup)
    assert figures.download_mbps is not None
    assert before.peers == {ELSEWHERE}


def test_an_interface_may_be_named_instead() -> None:
    with speed("lan_url", "/speed/") as (before, setup):
        assert lan.TOOL.measure(replace(setup, bind="lo")).download_mbps is not None
    assert before.peers == {"127.0.0.1"}


@pytest.mark.parametrize("place", ["eth77", "192.0.2.7"])
def test_a_place_that_is_not_there_is_the_tools_failure_and_not_the_lines(place: str) -> None:
    with (
        speed("lan_url", "/speed/") as (before, setup),
        pytest.raises(ToolError, match="bind") as raised,
    ):
        lan.TOOL.measure(replace(setup, bind=place))
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED
    # An address stays out of a failure's text, one's own as well.
    said = "[address]" if "." in place else place
    assert said in raised.value.failure.message
    assert before.peers == set()


@pytest.mark.parametrize(("host", "its", "other"), [("127.0.0.1", "4", "6"), ("::1", "6", "4")])
def test_only_the_ip_version_that_was_asked_for_is_used(host: str, its: str, other: str) -> None:
    family = socket.AF_INET6 if its == "6" else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        target = Target(f"http://[{host}]:{server.getsockname()[1]}".replace("[127.0.0.1]", host))
        tcp_connect(replace(target, way=Way(its)))
        connection, (peer, *_) = server.accept()
        connection.close()
        assert peer == host
        with pytest.raises(ToolError, match=f"IPv{other}") as raised:
            tcp_connect(replace(target, way=Way(other)))
    assert raised.value.failure.kind is FailureKind.NO_NETWORK


def test_the_line_is_looked_at_by_the_way_that_is_measured() -> None:
    with speed_server() as server, door(port_of(server.url)) as before:
        seen = check([Address("127.0.0.1", before.port)], way=Way(bind=ELSEWHERE))
        assert before.knocked.wait(10)
    assert seen.up is True
    assert before.peers == {ELSEWHERE}


def test_addresses_of_the_other_version_say_nothing_of_the_line() -> None:
    assert check([Address("127.0.0.1", 9)], way=Way("6")) == Connectivity(None, None)


@pytest.mark.parametrize("place", ["eth77", "192.0.2.7"])
def test_an_interface_that_was_pulled_out_is_no_outage_and_is_noted(place: str) -> None:
    seen = check([Address("127.0.0.1", 9)], way=Way(bind=place))
    assert seen.up is None
    assert f"{place} (bind)" in (seen.note or "")


@pytest.mark.parametrize(("version", "source"), [("4", "0.0.0.0"), ("6", "::")])  # noqa: S104 # a source
def test_programs_are_told_the_ip_version(version: str, source: str) -> None:
    setup = Setup("http://127.0.0.1:1", {"iperf3_server": "192.0.2.1"}, ip_version=version)
    assert f"-{version}" in iperf3.arguments(setup)
    assert f"--source {source}" in " ".join(speedtest_cli.arguments(setup))
    with pytest.raises(ToolError, match=f"IPv{version}: set bind"):
        ookla.arguments(setup)
