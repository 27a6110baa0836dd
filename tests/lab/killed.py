"""Runs of the probe that are killed at random points, one after the other.

    python -m tests.lab.killed COUNT SEED ARGUMENT...

The program is loaded once and forked for each run, so that two hundred take a minute and not ten.
"""

import os
import random
import signal
import sys
import time

from speedtrap_probe.cli import app


def start(arguments: list[str]) -> int:
    """A run in a process of its own."""
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            app(arguments)
        finally:
            os._exit(0)
    return pid


def main() -> None:
    count, seed, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    chance = random.Random(seed)
    began = time.monotonic()
    os.waitpid(start(arguments), 0)
    whole_s = time.monotonic() - began
    for _ in range(count):
        pid = start(arguments)
        time.sleep(chance.uniform(0, 1.1 * whole_s))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.stdout.write(f"killed {count} runs of {whole_s:.2f} s\n")


if __name__ == "__main__":
    main()
