"""Is the line up? Several independent addresses are asked, names (DNS) and connections (TCP) apart.

A line on which addresses answer but no name resolves is up: its resolver is what is broken. A line
on which nothing answers is down, whatever a resolver's cache still knows.
"""

import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from speedtrap_probe.line.way import ANY_WAY, FAMILIES, PlaceError, Way, version_of

# Independent of each other and of every tool's servers; two by name, so that they need DNS too.
DEFAULT_CHECKS = (
    "1.1.1.1:443",
    "8.8.8.8:443",
    "9.9.9.9:443",
    "[2606:4700:4700::1111]:443",
    "[2001:4860:4860::8888]:443",
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
        return version_of(self.host) is None

    def lies_on(self, way: Way) -> bool:
        """Of an IP version that the way can reach."""
        version = version_of(self.host)
        return version is None or way.family in {socket.AF_UNSPEC, FAMILIES[version]}


@dataclass(frozen=True, slots=True)
class Connectivity:
    """`up`: an address answered; None when none could be asked. `dns`: a name was resolved.

    `hindrance`: why none could be asked.
    """

    up: bool | None
    dns: bool | None
    hindrance: str | None = None

    @property
    def note(self) -> str | None:
        """What people should know of it."""
        if self.up and self.dns is False:
            return "Addresses answer, but no name could be resolved: DNS is broken, not the line."
        return self.hindrance


@dataclass(frozen=True, slots=True)
class _Answer:
    named: bool
    resolved: bool
    connected: bool
    hindrance: str | None = None


def check(
    addresses: Sequence[Address], timeout_s: float = TIMEOUT_S, way: Way = ANY_WAY
) -> Connectivity:
    """Asks all at once, by the way that is measured. Ends as soon as both questions are answered,
    or after *timeout_s*. A way that is not there says nothing about the line: an interface that
    was pulled out is no outage.
    """
    addresses = [address for address in addresses if address.lies_on(way)]
    if not addresses:
        return Connectivity(None, None)
    answers: queue.Queue[_Answer] = queue.Queue()
    for address in addresses:
        # Daemons: looking a name up can hang for longer than anyone wants to wait.
        threading.Thread(target=_ask, args=(address, timeout_s, way, answers), daemon=True).start()
    names = any(address.named for address in addresses)
    up, dns = False, False if names else None
    deadline = time.monotonic() + timeout_s
    for _ in addresses:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if answer.hindrance is not None:
            return Connectivity(None, dns or None, answer.hindrance)
        up = up or answer.connected
        dns = (dns or answer.resolved) if answer.named else dns
        if up and dns is not False:
            break
    return Connectivity(up, dns)


def _ask(address: Address, timeout_s: float, way: Way, answers: "queue.Queue[_Answer]") -> None:
    resolved = connected = False
    hindrance = None
    try:
        found = socket.getaddrinfo(address.host, address.port, way.family, socket.SOCK_STREAM)
        resolved = True
        connected = any(
            _connects(family, peer, timeout_s, way) for family, _, _, _, peer in found[:2]
        )
    except PlaceError as error:
        hindrance = f"The line could not be looked at from {way.bind} (bind): {error.strerror}."
    except (OSError, UnicodeError):  # a host that is no name at all fails in the codec
        pass
    answers.put(_Answer(address.named, resolved, connected, hindrance))


def _connects(family: int, peer: object, timeout_s: float, way: Way) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.settimeout(timeout_s)
        way.take(tried)
        return tried.connect_ex(peer) == 0  # type: ignore[arg-type] # as getaddrinfo gave it
