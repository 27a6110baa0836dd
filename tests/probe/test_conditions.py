import socket
from pathlib import Path

import pytest
from speedtrap_probe.conditions import (
    Address,
    default_interface,
    interface_bytes,
    line_up,
    medium,
    observe,
)
from speedtrap_probe.model import Medium

ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wlan0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""


def closed_port() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address("127.0.0.1", server.getsockname()[1])


def test_one_address_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = Address("127.0.0.1", server.getsockname()[1])
        assert line_up([closed_port(), Address("no-such-host.invalid", 443), answering]) is True


def test_the_line_is_down_when_no_address_answers() -> None:
    assert line_up([closed_port(), Address("no-such-host.invalid", 443)]) is False


def test_an_address_that_swallows_packets_does_not_hold_the_check_up() -> None:
    assert line_up([Address("192.0.2.1", 9)], timeout_s=0.2) is False


def test_without_addresses_the_line_is_unknown() -> None:
    assert line_up([]) is None


def test_behind_a_proxy_a_failed_check_proves_nothing() -> None:
    assert observe([closed_port()], through_proxy=True).line_up is None


def test_conditions_say_what_the_machine_is() -> None:
    seen = observe([closed_port()])
    assert seen.line_up is False
    assert seen.platform
    assert seen.probe_version
    assert seen.cross_traffic_mbps is None or seen.cross_traffic_mbps >= 0


def test_the_default_route_names_the_interface(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES)
    assert default_interface(routes) == "wlan0"
    assert default_interface(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("wireless", Medium.WIFI), ("device", Medium.WIRED), ("bridge", Medium.UNKNOWN)],
)
def test_the_medium_is_read_from_the_system(folder: str, expected: Medium, tmp_path: Path) -> None:
    (tmp_path / "if0" / folder).mkdir(parents=True)
    assert medium("if0", tmp_path) is expected
    assert medium("if1", tmp_path) is Medium.UNKNOWN


def test_counters_that_are_not_there_are_absent_and_not_zero(tmp_path: Path) -> None:
    assert interface_bytes("if0", tmp_path) is None
    assert interface_bytes(None, tmp_path) is None
    counters = tmp_path / "if0" / "statistics"
    counters.mkdir(parents=True)
    (counters / "rx_bytes").write_text("1000\n")
    (counters / "tx_bytes").write_text("200\n")
    assert interface_bytes("if0", tmp_path) == 1200
