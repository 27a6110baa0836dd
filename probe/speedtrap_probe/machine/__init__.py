"""What the machine says of itself: how it is attached, what its interfaces move, how busy it is.

Linux tells by its files. Elsewhere the optional `psutil` is asked (extra `conditions`). What cannot
be known is None, never 0 and never a guess.
"""

import importlib.util
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from speedtrap_probe.model import Medium

# Addresses of documentation (RFC 5737, RFC 3849): nothing is sent, the system only picks a way.
SOMEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class Machine(Protocol):
    """This machine. An interface is named as the system names it; None is no way out at all."""

    def interface(self, address: str | None) -> str | None:
        """The one that has this local address."""

    def moved_bytes(self, interface: str | None) -> int | None:
        """Received and sent since it came up."""

    def received_and_sent(self, interface: str | None) -> tuple[int, int] | None:
        """The same, each on its own."""

    def cpu_times(self) -> tuple[float, float] | None:
        """Busy and all time of every processor together, in any one unit."""

    def throttled_s(self) -> float | None:
        """How long a quota has held this process up, for all processors together."""

    def run_delays_s(self) -> Mapping[int, float]:
        """By thread, of this process and those it started: how long each was ready and not run."""

    def medium(self, interface: str | None) -> Medium:
        """Wi-Fi, or a wire; UNKNOWN for tunnels and bridges."""

    def link_mbps(self, interface: str | None) -> float | None:
        """What the interface negotiated."""

    def vpn(self, interface: str | None) -> bool | None:
        """Whether the way out is a tunnel."""

    def on_battery(self) -> bool | None:
        """Unplugged machines save power, and slow down."""


def here() -> Machine:
    """The one that this program runs on."""
    from speedtrap_probe.machine.linux import Linux  # noqa: PLC0415 - they know this module
    from speedtrap_probe.machine.other import Blind, Other  # noqa: PLC0415 - they know this module

    system: str = sys.platform
    if system == "linux":
        return Linux()
    return Other() if importlib.util.find_spec("psutil") else Blind()


def local_address() -> str | None:
    """Our address on the way to the internet, by the system's own choice of a route."""
    for family, peer in SOMEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((peer, 9))
            return str(asked.getsockname()[0])
    return None
