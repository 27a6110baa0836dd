"""How long the probe wanted a processor and was given none: by a quota, or by other programs.

A container with a quota is throttled while the machine's processors idle, so their load says
nothing of it.
"""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from speedtrap_probe.machine import Machine

EVERY_S = 0.25  # threads come and go: what one that has ended waited is lost with it


class Waiting:
    """Watches this process while the block runs. Several threads that wait at once wait once."""

    def __init__(self, machine: Machine, every_s: float = EVERY_S) -> None:
        self._machine, self._every_s = machine, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._waited_s = 0.0
        self._known = False

    def __enter__(self) -> Self:
        self._at_s, self._throttled_s, self._delays_s = self._look()
        self._known = self._throttled_s is not None or bool(self._delays_s)
        if self._known:
            self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._known:
            self._ended.set()
            self._thread.join()

    @property
    def seconds(self) -> float | None:
        """None where the system does not tell."""
        return self._waited_s if self._known else None

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._add()
        self._add()

    def _add(self) -> None:
        at_s, throttled_s, delays_s = self._look()
        waits = [after_s - self._delays_s.get(thread, 0.0) for thread, after_s in delays_s.items()]
        # Time throttled is part of its threads' delay, and is told for all processors together.
        if throttled_s is not None and self._throttled_s is not None:
            waits.append(throttled_s - self._throttled_s)
        self._waited_s += min(at_s - self._at_s, max(0.0, *waits, 0.0))
        self._at_s, self._throttled_s, self._delays_s = at_s, throttled_s, delays_s

    def _look(self) -> tuple[float, float | None, Mapping[int, float]]:
        machine = self._machine
        return time.monotonic(), machine.throttled_s(), machine.run_delays_s()
