"""A cable of known rate between two network namespaces, with a round trip of its own if wanted.

Needs root, iproute2, ethtool and the kernel's tbf. Where the kernel has no netem, the round trip
is made by two TUN devices: acknowledgements go through a relay that holds each packet for a while,
payload goes through the shaped cable.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME, SERVER = "10.77.0.1", "10.77.0.2"
TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x1001
PACKET = 65_535
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Cable:
    """The namespace of the one who measures, that of the server, and the rate (0: unshaped)."""

    home: str
    server: str
    rate_mbps: int
    delay_ms: int

    @property
    def goodput_mbps(self) -> float:
        """Of full segments with timestamps: 1448 bytes in 1514 on the wire."""
        return self.rate_mbps * 1448 / 1514

    def answers_late(self, phase: str) -> None:
        """Sends the acknowledgements of a download or of an upload through the relay."""
        if not self.delay_ms:
            return
        late, prompt = (self.home, self.server) if phase != "upload" else (self.server, self.home)
        for space, device in ((late, "late"), (prompt, "line")):
            other = SERVER if space == self.home else HOME
            run("ip", "-n", space, "route", "replace", f"{other}/32", "dev", device)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def inside(space: str, *argv: str) -> list[str]:
    return ["ip", "netns", "exec", space, *argv]


@contextlib.contextmanager
def cable(name: str, rate_mbps: int, delay_ms: int = 0) -> Iterator[Cable]:
    """A cable that exists until the block ends."""
    made = Cable(f"{name}-home", f"{name}-server", rate_mbps, delay_ms)
    relay = None
    try:
        _lay(made)
        if delay_ms:
            relay = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.shaped", made.home, made.server, str(delay_ms)],
                stdout=subprocess.PIPE,
            )
            assert relay.stdout is not None
            relay.stdout.readline()
            made.answers_late("download")
        yield made
    finally:
        if relay is not None:
            relay.terminate()
            relay.communicate()
        for space in (made.home, made.server):
            with contextlib.suppress(subprocess.CalledProcessError):  # was never laid
                run("ip", "netns", "del", space)


def _lay(made: Cable) -> None:
    for space in (made.home, made.server):
        run("ip", "netns", "add", space)
        run("ip", "-n", space, "link", "set", "lo", "up")
    peer = ("type", "veth", "peer", "name", "line", "netns", made.server)
    run("ip", "-n", made.home, "link", "add", "name", "line", *peer)
    for space, address in ((made.home, HOME), (made.server, SERVER)):
        # One packet a segment, as on a real line: else the shaper sees giants of 64 kB. They are
        # put together again where they arrive, as every real card does: it thins out the
        # acknowledgements too, of which the relay cannot hold 100,000 a second.
        off = ("tso", "off", "gso", "off", "gro", "on") if made.rate_mbps else ()
        if off:
            run(*inside(space, "ethtool", "-K", "line", *off))
        run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "line")
        run("ip", "-n", space, "link", "set", "line", "up")
        if made.rate_mbps:
            # What a busy machine's late timer has missed may be made up for within 5 ms; over the
            # 3 s that a window counts at least, that is 0.17 % at most.
            burst = made.rate_mbps * 1000 // 8 * 5 + 16_000
            shaper = ("rate", f"{made.rate_mbps}mbit", "burst", str(burst), "latency", "40ms")
            run(*inside(space, "tc", "qdisc", "add", "dev", "line", "root", "tbf", *shaper))


def _tun(space: str) -> int:
    """A TUN device in another namespace, as a file of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    back = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(Path("/var/run/netns") / space, os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", b"late", IFF_TUN_WITHOUT_HEADER))
        libc.setns(back, CLONE_NEWNET)
    finally:
        os.close(back)
        os.close(there)
    run("ip", "-n", space, "link", "set", "late", "txqueuelen", "20000", "up")
    return fd


def relay(home: str, server: str, delay_s: float) -> None:
    """Holds every packet for *delay_s*, in both directions."""
    files = [_tun(home), _tun(server)]
    other = dict(zip(files, reversed(files), strict=True))
    held: list[tuple[float, int, int, bytes]] = []
    number = 0
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        for fd in select.select(files, [], [], wait_s)[0]:
            due_s = time.monotonic() + delay_s
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    number += 1
                    heapq.heappush(held, (due_s, number, other[fd], os.read(fd, PACKET)))
        now_s = time.monotonic()
        while held and held[0][0] <= now_s:
            _due, _number, fd, packet = heapq.heappop(held)
            with contextlib.suppress(BlockingIOError):
                os.write(fd, packet)


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000)
