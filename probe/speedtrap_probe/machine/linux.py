"""Linux, by the files of its kernel."""

import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from speedtrap_probe.model import Medium

SIOCGIFADDR = 0x8915  # linux/sockios.h
ARPHRD_NONE = 65534  # linux/if_arp.h: what WireGuard and routed tun devices are
TUNNELS = re.compile(r"(tun|tap|wg|tailscale|zt|nordlynx|proton|mullvad|utun)", re.ASCII)
BITRATE = re.compile(r"([rt])x bitrate: ([\d.]+) MBit/s")
IW_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Linux:
    """Reads below *proc* and *sys*."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def interface(self, address: str | None) -> str | None:
        if address is None:
            return None
        return self._having(address) or self._by_route()

    def moved_bytes(self, interface: str | None) -> int | None:
        both = self.received_and_sent(interface)
        return sum(both) if both else None

    def received_and_sent(self, interface: str | None) -> tuple[int, int] | None:
        # Not /sys: in a network namespace that may still show the outer one's interfaces.
        for name, numbers in self._table("net/dev", 2):
            if name == interface:
                return int(numbers[0]), int(numbers[8])
        return None

    def cpu_times(self) -> tuple[float, float] | None:
        try:
            fields = (self.proc / "stat").read_text().splitlines()[0].split()[1:9]
            ticks = [float(field) for field in fields]
        except (OSError, ValueError, IndexError):
            return None
        return sum(ticks) - sum(ticks[3:5]), sum(ticks)  # idle, and waiting for a disk

    def throttled_s(self) -> float | None:
        """Of the own control group and those above it: a quota may be set on any of them."""
        times = [
            throttled
            for folder in self._cpu_groups()
            if (throttled := _throttled_s(folder / "cpu.stat")) is not None
        ]
        return max(times, default=None)

    def run_delays_s(self) -> dict[int, float]:
        tasks = list((self.proc / "self/task").glob("*"))
        for task in tuple(tasks):
            for child in _text(task / "children").split():
                tasks += (self.proc / child / "task").glob("*")
        delays = {}
        for task in tasks:
            fields = _text(task / "schedstat").split()
            if len(fields) == 3:
                delays[int(task.name)] = int(fields[1]) / 1e9
        return delays

    def _cpu_groups(self) -> Iterator[Path]:
        """Version 2 has one tree, version 1 one for each controller or pair of them."""
        for line in _text(self.proc / "self/cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, place = rest.partition(":")
            if number != "0" and "cpu" not in controllers.split(","):
                continue
            root = self.sys / "fs/cgroup" / controllers
            own = root / place.lstrip("/")
            # In a container the tree may begin with its own group, under the host's name.
            yield from (one for one in (own, *own.parents) if one.is_relative_to(root))

    def medium(self, interface: str | None) -> Medium:
        folder = self._folder(interface)
        if folder is None:
            return Medium.UNKNOWN
        if (folder / "wireless").exists() or (folder / "phy80211").exists():
            return Medium.WIFI
        return Medium.WIRED if (folder / "device").exists() else Medium.UNKNOWN

    def link_mbps(self, interface: str | None) -> float | None:
        if self.medium(interface) is Medium.WIFI:
            return wifi_mbps(_iw(str(interface)))
        try:
            folder = self._folder(interface)
            speed = int((folder / "speed").read_text()) if folder else 0
        except (OSError, ValueError):  # EINVAL where the driver does not know
            return None
        # Virtual interfaces name a number that nothing holds them to.
        return float(speed) if speed > 0 and self.medium(interface) is Medium.WIRED else None

    def vpn(self, interface: str | None) -> bool | None:
        folder = self._folder(interface)
        if folder is None:
            return None
        try:
            kind = int((folder / "type").read_text())
        except (OSError, ValueError):
            kind = 0
        # A PPP device is how DSL lines are dialled: it is no tunnel of the user's.
        return kind == ARPHRD_NONE or TUNNELS.match(str(interface)) is not None

    def on_battery(self) -> bool | None:
        supplies = sorted((self.sys / "class/power_supply").glob("*"))
        mains = [_text(one / "online") for one in supplies if _text(one / "type") == "Mains"]
        if mains:
            return "1" not in mains
        states = [_text(one / "status") for one in supplies if _text(one / "type") == "Battery"]
        # Without a battery there is nothing to run on but the mains.
        return "Discharging" in states if states else False

    def _folder(self, interface: str | None) -> Path | None:
        folder = self.sys / "class/net" / (interface or "-")
        return folder if folder.exists() else None

    def _table(self, name: str, heading: int) -> list[tuple[str, list[str]]]:
        try:
            lines = (self.proc / name).read_text().splitlines()[heading:]
        except OSError:
            return []
        split = [line.partition(":") for line in lines]
        return [(interface.strip(), rest.split()) for interface, _, rest in split]

    def _having(self, address: str) -> str | None:
        if ":" in address:
            return self._having_v6(IPv6Address(address.partition("%")[0]))
        if sys.platform == "linux":
            import fcntl  # noqa: PLC0415 - does not exist on Windows

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                for _, name in socket.if_nameindex():
                    with suppress(OSError):  # it has no address
                        request = struct.pack("256s", name.encode()[:15])
                        answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, request)
                        if socket.inet_ntoa(answer[20:24]) == address:
                            return name
        return None

    def _having_v6(self, address: IPv6Address) -> str | None:
        try:
            lines = (self.proc / "net/if_inet6").read_text().splitlines()
        except OSError:
            return None
        for fields in (line.split() for line in lines):
            if IPv6Address(bytes.fromhex(fields[0])) == address:
                return fields[5]
        return None

    def _by_route(self) -> str | None:
        """The default route's: for an address that is not an interface's first one."""
        try:
            lines = (self.proc / "net/route").read_text().splitlines()[1:]
        except OSError:
            return None
        for fields in (line.split() for line in lines):
            if len(fields) > 7 and fields[1] == fields[7] == "00000000":
                return fields[0]
        return None


def wifi_mbps(said: str) -> float | None:
    """The rate that `iw dev X link` tells: towards us if it is there, else from us."""
    rates = {way: float(rate) for way, rate in BITRATE.findall(said)}
    return rates.get("r") or rates.get("t")


def _throttled_s(stat: Path) -> float | None:
    told = dict(line.split(" ", 1) for line in _text(stat).splitlines() if " " in line)
    for name, units_per_s in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        if told.get(name, "").isdigit():
            return int(told[name]) / units_per_s
    return None


def _iw(interface: str) -> str:
    program = shutil.which("iw") or shutil.which("iw", path="/usr/sbin:/sbin")
    if program is None:
        return ""
    try:
        argv = [program, "dev", interface, "link"]
        done = subprocess.run(argv, capture_output=True, timeout=IW_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
