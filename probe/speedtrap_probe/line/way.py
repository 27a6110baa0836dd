"""The way out of this machine: by which IP version, from which interface or source address."""

import errno
import ipaddress
import socket
import sys
from dataclasses import dataclass

FAMILIES = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}
# netinet/in.h and netinet6/in6.h of macOS: IP_BOUND_IF and IPV6_BOUND_IF.
MACOS_BOUND_IF = {socket.AF_INET: (0, 25), socket.AF_INET6: (41, 125)}


class PlaceError(OSError):
    """The interface or address to measure from is not there, or may not be used."""


@dataclass(frozen=True, slots=True)
class Way:
    """`ip_version` is `any`, `4` or `6`; `bind` an interface or a source address."""

    ip_version: str = "any"
    bind: str | None = None

    @property
    def family(self) -> socket.AddressFamily:
        """A source address decides the IP version, unless one was asked for."""
        if self.ip_version == "any" and self.bind is not None:
            return FAMILIES[version_of(self.bind) or "any"]
        return FAMILIES[self.ip_version]

    def take(self, opened: socket.socket) -> None:
        """Puts a fresh socket on this way; raises PlaceError."""
        if self.bind is None:
            return
        try:
            if version_of(self.bind):
                opened.bind((self.bind, 0))
            else:
                _bind_to_interface(opened, self.bind)
        except OSError as error:
            raise PlaceError(error.errno, error.strerror) from error


ANY_WAY = Way()
"""As the system routes."""


def version_of(place: str) -> str | None:
    """`4` or `6` of an address; None of an interface."""
    try:
        return str(ipaddress.ip_address(place).version)
    except ValueError:
        return None


def _bind_to_interface(opened: socket.socket, name: str) -> None:
    if sys.platform == "linux":
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode() + b"\0")
    elif sys.platform == "darwin":
        level, option = MACOS_BOUND_IF[opened.family]
        opened.setsockopt(level, option, socket.if_nametoindex(name))
    else:
        raise OSError(errno.EINVAL, "here only a source address can be chosen")
