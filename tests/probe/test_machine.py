"""Machines by faked files, by psutil, and the one that runs the tests."""

import socket
from pathlib import Path

import pytest
from speedtrap_probe.machine import here, local_address
from speedtrap_probe.machine.linux import Linux, wifi_mbps
from speedtrap_probe.machine.other import Blind, Other, medium_of, ports
from speedtrap_probe.model import Medium

ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wlan0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""
DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:      50       1    0    0    0     0          0         0       50       1    0    0
  eth0:    1000       7    0    0    0     0          0         0      200       4    0    0
"""
IW = """Connected to aa:bb:cc:dd:ee:ff (on wlan0)
\tSSID: home
\tsignal: -52 dBm
\trx bitrate: 433.3 MBit/s VHT-MCS 9 80MHz short GI VHT-NSS 1
\ttx bitrate: 866.7 MBit/s VHT-MCS 9 80MHz short GI VHT-NSS 2
"""
NETWORKSETUP = """
Hardware Port: Ethernet
Device: en0
Ethernet Address: aa:bb:cc:dd:ee:ff

Hardware Port: Wi-Fi
Device: en1
Ethernet Address: aa:bb:cc:dd:ee:fe
"""


@pytest.fixture
def linux(tmp_path: Path) -> Linux:
    """A machine with a proc and a sys of its own."""
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES)
    (tmp_path / "proc/net/dev").write_text(DEV)
    (tmp_path / "proc/stat").write_text("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1 1 1 1\n")
    return Linux(tmp_path / "proc", tmp_path / "sys")


def interface(linux: Linux, name: str, **files: str) -> str:
    folder = linux.sys / "class/net" / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return name


def test_counters_are_received_and_sent(linux: Linux) -> None:
    assert linux.moved_bytes("eth0") == 1200
    assert linux.received_and_sent("eth0") == (1000, 200)
    assert linux.moved_bytes("eth7") is None
    assert linux.moved_bytes(None) is None


def test_a_processor_that_waits_for_a_disk_is_idle(linux: Linux) -> None:
    assert linux.cpu_times() == (30, 100)


def test_an_address_of_no_interface_leaves_by_the_default_route(linux: Linux) -> None:
    assert linux.interface("203.0.113.7") == "wlan0"
    assert linux.interface(None) is None


def test_the_loopback_has_the_loopbacks_addresses() -> None:
    assert Linux().interface("127.0.0.1") == "lo"
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        assert Linux().interface("::1") in {"lo", None, here().interface(local_address())}


def test_wires_wifi_and_bridges_are_told_apart(linux: Linux) -> None:
    assert linux.medium(interface(linux, "eth0", **{"device/x": ""})) is Medium.WIRED
    assert linux.medium(interface(linux, "wlan0", **{"wireless/x": ""})) is Medium.WIFI
    assert linux.medium(interface(linux, "br0", **{"bridge/x": ""})) is Medium.UNKNOWN
    assert linux.medium("none0") is Medium.UNKNOWN


@pytest.mark.parametrize(
    ("speed", "expected"), [("1000\n", 1000.0), ("-1\n", None), ("", None), ("what", None)]
)
def test_a_wires_speed_is_what_it_negotiated(
    speed: str, expected: float | None, linux: Linux
) -> None:
    name = interface(linux, "eth0", **{"device/x": "", "speed": speed})
    assert linux.link_mbps(name) == expected


def test_a_virtual_interfaces_speed_means_nothing(linux: Linux) -> None:
    assert linux.link_mbps(interface(linux, "veth0", speed="10000")) is None


def test_wifi_is_as_fast_as_it_is_towards_us() -> None:
    assert wifi_mbps(IW) == 433.3
    assert wifi_mbps(IW.replace("rx bitrate", "rx")) == 866.7
    assert wifi_mbps("Not connected.") is None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("eth0", "1", False),
        ("ppp0", "512", False),
        ("wg0", "65534", True),
        ("home", "65534", True),
        ("tap0", "1", True),
    ],
)
def test_tunnels_are_vpns_and_dialled_lines_are_not(
    name: str, kind: str, expected: bool, linux: Linux
) -> None:
    assert linux.vpn(interface(linux, name, type=kind)) is expected
    assert linux.vpn("none0") is None


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, False),
        ({"AC/type": "Mains", "AC/online": "1", "BAT0/type": "Battery"}, False),
        ({"AC/type": "Mains", "AC/online": "0", "BAT0/type": "Battery"}, True),
        ({"BAT0/type": "Battery", "BAT0/status": "Discharging"}, True),
        ({"BAT0/type": "Battery", "BAT0/status": "Full"}, False),
    ],
)
def test_a_machine_without_its_mains_is_on_battery(
    supplies: dict[str, str], expected: bool, linux: Linux
) -> None:
    for path, text in supplies.items():
        file = linux.sys / "class/power_supply" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert linux.on_battery() is expected


def test_where_there_are_no_files_nothing_is_known(tmp_path: Path) -> None:
    blind = Linux(tmp_path, tmp_path)
    assert blind.interface("203.0.113.7") is None
    assert blind.moved_bytes("eth0") is None
    assert blind.cpu_times() is None


def test_psutil_tells_the_same_elsewhere() -> None:
    other = Other()
    name = other.interface("127.0.0.1")
    assert name is not None
    before = other.moved_bytes(name)
    assert before is not None
    assert before >= 0
    times = other.cpu_times()
    assert times is not None
    assert 0 < times[0] < times[1]
    assert other.interface("203.0.113.7") is None
    assert other.moved_bytes("none0") is None
    assert other.vpn("utun3") is True
    assert other.vpn("en0") is False
    assert other.on_battery() in {None, True, False}
    assert other.link_mbps("none0") is None


def test_without_psutil_nothing_is_known() -> None:
    blind = Blind()
    assert (blind.interface("127.0.0.1"), blind.cpu_times(), blind.vpn("wg0")) == (None, None, None)
    assert blind.medium("eth0") is Medium.UNKNOWN


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Wi-Fi", Medium.WIFI),
        ("WLAN 2", Medium.WIFI),
        ("Ethernet 2", Medium.WIRED),
        ("USB 10/100/1000 LAN", Medium.WIRED),
        ("utun3", Medium.UNKNOWN),
    ],
)
def test_ports_tell_by_their_names(name: str, expected: Medium) -> None:
    assert medium_of(name) is expected


def test_macos_names_its_ports() -> None:
    assert ports(NETWORKSETUP) == {"en0": "Ethernet", "en1": "Wi-Fi"}


V2, V1 = "throttled_usec 2500000", "throttled_time 2500000000"


@pytest.mark.parametrize(
    ("groups", "file", "stat", "expected_s"),
    [
        ("0::/\n", "cpu.stat", V2, 2.5),
        ("0::/user.slice/app.scope\n", "user.slice/cpu.stat", V2, 2.5),
        ("0::/docker/0123\n", "cpu.stat", V2, 2.5),
        ("4:cpu,cpuacct:/docker/0123\n1:name=systemd:/\n", "cpu,cpuacct/cpu.stat", V1, 2.5),
        ("1:cpu:/\n0::/\n", "cpu/cpu.stat", V1, 2.5),
        ("2:cpuset:/\n", "cpuset/cpu.stat", V1, None),
        ("0::/\n", "cpu.stat", "usage_usec 7", None),
        ("", "cpu.stat", V2, None),
    ],
)
def test_a_quota_is_found_in_the_own_control_group_or_above_it(
    groups: str, file: str, stat: str, expected_s: float | None, linux: Linux
) -> None:
    (linux.proc / "self").mkdir()
    (linux.proc / "self/cgroup").write_text(groups)
    told = linux.sys / "fs/cgroup" / file
    told.parent.mkdir(parents=True)
    told.write_text(f"nr_periods 10\n{stat}\n")
    assert linux.throttled_s() == expected_s


def test_threads_and_children_tell_how_long_they_were_ready_and_not_run(linux: Linux) -> None:
    for place, told in {
        "self/task/7/schedstat": "1 1500000000 3\n",
        "self/task/7/children": "9 \n",
        "self/task/8/schedstat": "not what it was",
        "9/task/9/schedstat": "1 250000000 3\n",
    }.items():
        (linux.proc / place).parent.mkdir(parents=True, exist_ok=True)
        (linux.proc / place).write_text(told)
    assert linux.run_delays_s() == {7: 1.5, 9: 0.25}
