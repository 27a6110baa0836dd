"""How much of a lease is left, by this machine's own clock: no clocks need to agree."""

import sys
import time

from speedtrap_bots.errors import Unavailable

MARGIN_S = 2.0
"""What a lease must have left beyond the delivery's own time limit."""


def now_s() -> float:
    """Seconds that also pass while the process is stopped and, on Linux, the machine asleep."""
    if sys.platform == "linux":
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        seconds = time.monotonic()
    return seconds


class Lease:
    """Counted from before it was asked for, so that it never seems longer than it is."""

    def __init__(self, asked_at_s: float, length_s: float) -> None:
        self._ends_at_s = asked_at_s + length_s

    @property
    def left_s(self) -> float:
        return self._ends_at_s - now_s()

    def may_send(self) -> None:
        """Raises Unavailable unless the lease still holds: the last word before a byte leaves."""
        if self.left_s < MARGIN_S:
            raise Unavailable("this worker slept for too long: its lease is over")
