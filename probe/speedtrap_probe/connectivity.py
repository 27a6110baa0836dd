"""Is the line up? Several independent addresses are asked, names (DNS) and connections (TCP) apart.

A line on which addresses answer but no name resolves is up: its resolver is what is broken. A line
on which nothing answers is down, whatever a resolver's cache still knows.
"""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

# Independent of each other and of every tool's servers; two by name, so that they need DNS too.
DEFAULT_CHECKS = (
    "1.1.1.1:443",
    "8.8.8.8:443",
    "9.9.9.9:443",
    "www.wikipedia.org:443",
    "example.com:443",
)
TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port that should answer when the internet does."""

    host: str
    port: int

    @property
    def named(self) -> bool:
        """By name, so that DNS is needed to reach it."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class Connectivity:
    """`up`: an address answered; None when there was none to ask. `dns`: a name was resolved."""

    up: bool | None
    dns: bool | None

    @property
    def note(self) -> str | None:
        """What people should know of it."""
        if self.up and self.dns is False:
            return "Addresses answer, but no name could be resolved: DNS is broken, not the line."
        return None


@dataclass(frozen=True, slots=True)
class _Answer:
    named: bool
    resolved: bool
    connected: bool


def check(addresses: Sequence[Address], timeout_s: float = TIMEOUT_S) -> Connectivity:
    """Asks all at once. Ends as soon as both questions are answered, or after *timeout_s*."""
    if not addresses:
        return Connectivity(None, None)
    answers: queue.Queue[_Answer] = queue.Queue()
    for address in addresses:
        # Daemons: looking a name up can hang for longer than anyone wants to wait.
        threading.Thread(target=_ask, args=(address, timeout_s, answers), daemon=True).start()
    names = any(address.named for address in addresses)
    up, dns = False, False if names else None
    deadline = time.monotonic() + timeout_s
    for _ in addresses:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        up = up or answer.connected
        dns = (dns or answer.resolved) if answer.named else dns
        if up and dns is not False:
            break
    return Connectivity(up, dns)


def _ask(address: Address, timeout_s: float, answers: "queue.Queue[_Answer]") -> None:
    resolved = connected = False
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        resolved = True
        connected = any(_connects(family, peer, timeout_s) for family, _, _, _, peer in found[:2])
    except (OSError, UnicodeError):  # a host that is no name at all fails in the codec
        pass
    answers.put(_Answer(address.named, resolved, connected))


def _connects(family: int, peer: object, timeout_s: float) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.settimeout(timeout_s)
        return tried.connect_ex(peer) == 0  # type: ignore[arg-type] # as getaddrinfo gave it
