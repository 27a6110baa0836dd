"""Ends the parts when their supervisor is gone without a word (kill -9, out of memory).

It reads lines from the supervisor, `+<group>` and `-<group>`; at the end of file it ends every
process group it still knows. A process of its own, with the standard library alone, so that it
outlives the supervisor by the seconds this takes. Started as `python -I reaper.py`.
"""

import os
import signal
import sys
import time

GRACE_S = 5.0
if sys.platform != "win32":
    KILL = signal.SIGKILL
else:
    KILL = signal.SIGTERM


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    deadline = time.monotonic() + GRACE_S
    alive = {group for group in groups if _signal(group, signal.SIGTERM)}
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = {group for group in alive if _signal(group, 0)}
    for group in alive:
        _signal(group, KILL)


def _signal(group: int, number: int) -> bool:
    """Whether there was still somebody to receive it."""
    try:
        if sys.platform != "win32":
            os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    # Ctrl-C in the terminal is the supervisor's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
