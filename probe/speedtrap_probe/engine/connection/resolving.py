"""Names to addresses, within a deadline; and which of them a stranger may lead us to.

A list of servers or a redirect is text from outside. What it names is measured only where it lies
on the internet: never on this machine or in this network, unless a person named that very host.
"""

import ipaddress
import queue
import socket
import threading
from collections.abc import Sequence

from speedtrap_probe.engine.connection.connecting import Found
from speedtrap_probe.line.way import version_of

WITHIN_S = 20.0  # the system's own resolver asks each of its servers for 5 s, twice
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Not all that `is_private` means: 198.18.0.0/15 is what some VPN programs give every name.
OWN_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
# Networks whose addresses hold one of IPv4, and where in their 16 bytes it stands.
TRANSLATED = {
    "::/96": 12,
    "::ffff:0:0/96": 12,
    "64:ff9b::/96": 12,
    "2002::/16": 2,
}
LOCAL_NAMES = ("localhost", ".localhost")


def resolved(
    host: str, port: int, family: socket.AddressFamily, within_s: float = WITHIN_S
) -> list[Found]:
    """As `getaddrinfo`, which knows no deadline; raises OSError (TimeoutError) or UnicodeError."""
    if version_of(host) is not None:
        return _found(host, port, family)
    answers: queue.SimpleQueue[list[Found] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_found(host, port, family))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, min(within_s, WITHIN_S)))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def on_the_internet(found: Sequence[Found]) -> list[Found]:
    """Without the addresses of this machine and of this network."""
    return [one for one in found if not is_own(str(one[4][0]))]


def is_own(host: str) -> bool:
    """Of an address, whether it is this machine's or this network's. Of a name, by its spelling."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.lower().removesuffix(".")
        return name == LOCAL_NAMES[0] or name.endswith(LOCAL_NAMES[1])
    return any(one in network for one in _meant(address) for network in OWN_NETWORKS)


def _meant(address: IpAddress) -> tuple[IpAddress, ...]:
    """The address, and the IPv4 address inside."""
    for network, start in TRANSLATED.items():
        if address in ipaddress.ip_network(network):
            inside = ipaddress.IPv4Address(address.packed[start : start + 4])
            return address, inside
    return (address,)


def _found(host: str, port: int, family: socket.AddressFamily) -> list[Found]:
    return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
