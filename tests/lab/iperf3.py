"""Debian's iperf3 as a server."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.mongo import free_port

READY_WITHIN_S = 10.0


@contextmanager
def iperf3_server() -> Iterator[int]:
    """A running server's port on the loopback."""
    port = free_port()
    argv = ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port), "--forceflush"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdout=said, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            _wait_until_it_listens(port, Path(f"/proc/self/fd/{said.fileno()}"))
            yield port
        finally:
            process.terminate()


def _wait_until_it_listens(port: int, said: Path) -> None:
    """By its own word: whoever only knocks is taken for a test, and the next one finds it busy."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if b"Server listening" in said.read_bytes():
            return
        time.sleep(0.05)
    raise TimeoutError(f"iperf3 does not listen on port {port}")
