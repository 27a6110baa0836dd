"""What a run is made under: is the line up, how is the machine attached, is anyone else using it.

The interfaces' counters are read where Linux shows them; elsewhere those conditions are absent.
"""

import platform
import queue
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speedtrap_probe import __version__
from speedtrap_probe.model import Conditions, Medium

# Independent of each other and of every tool's servers; two by name, so that they need DNS too.
DEFAULT_CHECKS = (
    "1.1.1.1:443",
    "8.8.8.8:443",
    "9.9.9.9:443",
    "www.wikipedia.org:443",
    "example.com:443",
)
CHECK_TIMEOUT_S = 3.0
TRAFFIC_WINDOW_S = 1.0
NET = Path("/sys/class/net")
ROUTES = Path("/proc/net/route")
CPU_TIMES = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port that should answer when the internet does."""

    host: str
    port: int


def observe(
    checks: Sequence[Address], timeout_s: float = CHECK_TIMEOUT_S, through_proxy: bool = False
) -> Conditions:
    """Looks at the line and the machine; takes about a second, a little more when it is down.

    Through a proxy a failed check proves nothing, so then the line is unknown, not down.
    """
    up: bool | None = line_up(checks, timeout_s)
    interface = default_interface()
    traffic, cpu = _load(interface, TRAFFIC_WINDOW_S)
    return Conditions(
        line_up=None if through_proxy and not up else up,
        medium=medium(interface) if sys.platform == "linux" else None,
        cross_traffic_mbps=traffic,
        cpu_percent=cpu,
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        probe_version=__version__,
    )


def line_up(checks: Sequence[Address], timeout_s: float = CHECK_TIMEOUT_S) -> bool | None:
    """True as soon as one address answers, False when none does; None without addresses."""
    if not checks:
        return None
    answers: queue.Queue[bool] = queue.Queue()
    for address in checks:
        # Daemons: looking a name up can hang for longer than anyone wants to wait.
        threading.Thread(target=_check, args=(address, timeout_s, answers), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    for _ in checks:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def default_interface(routes: Path = ROUTES) -> str | None:
    """The interface that the default route leaves by, where Linux tells."""
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return None
    for fields in (line.split() for line in lines):
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            return fields[0]
    return None


def medium(interface: str | None, net: Path = NET) -> Medium:
    """Wi-Fi, or a wire; UNKNOWN for tunnels, bridges and without a default route."""
    if interface is None or not (net / interface).exists():
        return Medium.UNKNOWN
    if (net / interface / "wireless").exists():
        return Medium.WIFI
    return Medium.WIRED if (net / interface / "device").exists() else Medium.UNKNOWN


def interface_bytes(interface: str | None, net: Path = NET) -> int | None:
    """Received and sent bytes of an interface since it came up."""
    if interface is None:
        return None
    counters = net / interface / "statistics"
    try:
        return sum(int((counters / name).read_text()) for name in ("rx_bytes", "tx_bytes"))
    except (OSError, ValueError):
        return None


def _load(interface: str | None, window_s: float) -> tuple[float | None, float | None]:
    """Traffic in Mbps (both directions) and processor use in percent, before the run."""
    bytes_before, busy_before = interface_bytes(interface), _cpu_times()
    if bytes_before is None and busy_before is None:
        return None, None
    started = time.monotonic()
    time.sleep(window_s)
    bytes_after, busy_after = interface_bytes(interface), _cpu_times()
    elapsed_s = time.monotonic() - started
    traffic = cpu = None
    if bytes_before is not None and bytes_after is not None and bytes_after >= bytes_before:
        traffic = round((bytes_after - bytes_before) * 8 / 1e6 / elapsed_s, 3)
    if busy_before and busy_after and (total := busy_after[1] - busy_before[1]) > 0:
        cpu = round(100 * (busy_after[0] - busy_before[0]) / total, 1)
    return traffic, cpu


def _cpu_times(stat: Path = CPU_TIMES) -> tuple[int, int] | None:
    """Busy and all ticks of every processor together."""
    try:
        ticks = [int(field) for field in stat.read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    idle = sum(ticks[3:5])  # idle and waiting for a disk
    return sum(ticks) - idle, sum(ticks)


def _check(address: Address, timeout_s: float, answers: "queue.Queue[bool]") -> None:
    try:
        socket.create_connection((address.host, address.port), timeout_s).close()
    except OSError:
        answers.put(False)
    else:
        answers.put(True)
