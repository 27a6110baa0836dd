"""Debian's iperf3 as a server."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.mongo import free_port

READY_WITHIN_S = 10.0


@contextmanager
def iperf3_server() -> Iterator[int]:
    """A running server's port on the loopback."""
    port = free_port()
    argv = ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_listens(port)
            yield port
        finally:
            process.terminate()


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"iperf3 does not listen on port {port}")
