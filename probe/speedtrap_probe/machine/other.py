"""macOS, Windows and the rest: by psutil where it is installed, blind where it is not."""

import re
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

from speedtrap_probe.model import Medium

TUNNELS = re.compile(
    r"(utun|tun|tap|wg|ipsec|ppp|wireguard|tailscale|openvpn|nordlynx)", re.IGNORECASE
)
WIRELESS = re.compile(r"(wi-?fi|wlan|wireless|drahtlos)", re.IGNORECASE)
WIRED = re.compile(r"(ethernet|lan|en\d)", re.IGNORECASE)
PORT = re.compile(r"Hardware Port: (.+)\nDevice: (\S+)")
ASK_TIMEOUT_S = 5.0


class Blind:
    """Knows nothing, and says so."""

    def interface(self, _address: str | None) -> str | None:
        return None

    def moved_bytes(self, _interface: str | None) -> int | None:
        return None

    def received_and_sent(self, _interface: str | None) -> tuple[int, int] | None:
        return None

    def cpu_times(self) -> tuple[float, float] | None:
        return None

    def throttled_s(self) -> float | None:
        return None

    def run_delays_s(self) -> dict[int, float]:
        return {}

    def medium(self, _interface: str | None) -> Medium:
        return Medium.UNKNOWN

    def link_mbps(self, _interface: str | None) -> float | None:
        return None

    def vpn(self, _interface: str | None) -> bool | None:
        return None

    def on_battery(self) -> bool | None:
        return None


@dataclass(frozen=True, slots=True)
class Other:
    """What psutil knows."""

    def interface(self, address: str | None) -> str | None:
        for name, entries in _psutil().net_if_addrs().items():
            if any(entry.address.partition("%")[0] == address for entry in entries):
                return str(name)
        return None

    def moved_bytes(self, interface: str | None) -> int | None:
        both = self.received_and_sent(interface)
        return sum(both) if both else None

    def received_and_sent(self, interface: str | None) -> tuple[int, int] | None:
        counters = _psutil().net_io_counters(pernic=True).get(interface)
        return (counters.bytes_recv, counters.bytes_sent) if counters else None

    def cpu_times(self) -> tuple[float, float] | None:
        times = _psutil().cpu_times()
        return sum(times) - times.idle, sum(times)

    def throttled_s(self) -> float | None:
        return None  # these systems have no such quota that a program could read

    def run_delays_s(self) -> dict[int, float]:
        return {}

    def medium(self, interface: str | None) -> Medium:
        if interface is None:
            return Medium.UNKNOWN
        return medium_of(port_names().get(interface, interface))

    def link_mbps(self, interface: str | None) -> float | None:
        stats = _psutil().net_if_stats().get(interface)
        return float(stats.speed) if stats and stats.speed else None

    def vpn(self, interface: str | None) -> bool | None:
        return None if interface is None else TUNNELS.match(interface) is not None

    def on_battery(self) -> bool | None:
        battery = _psutil().sensors_battery()
        return (
            None
            if battery is None or battery.power_plugged is None
            else not (battery.power_plugged)
        )


def medium_of(name: str) -> Medium:
    """By what the system calls the port: "Wi-Fi", "Ethernet 2", "USB 10/100/1000 LAN"."""
    if WIRELESS.search(name):
        return Medium.WIFI
    return Medium.WIRED if WIRED.search(name) else Medium.UNKNOWN


def port_names() -> dict[str, str]:
    """macOS calls Wi-Fi `en0`: `networksetup` knows what that is. Elsewhere empty."""
    system: str = sys.platform
    if system != "darwin":
        return {}
    argv = ["/usr/sbin/networksetup", "-listallhardwareports"]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return ports(done.stdout.decode(errors="replace"))


def ports(said: str) -> dict[str, str]:
    """Device by device, the port's name."""
    return {device: name for name, device in PORT.findall(said)}


def _psutil() -> ModuleType:
    import psutil  # noqa: PLC0415 - optional, and slow to load

    return psutil
