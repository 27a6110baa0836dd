"""Ctrl-C and SIGTERM: they end what is being measured, never what is being kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While entered, both signals raise KeyboardInterrupt, but wait for a `held` block to end."""

    def __init__(self) -> None:
        self._asked = self._holding = False

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._stop) for number in SIGNALS]
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A run that was measured is on the disk before anything stops."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._asked:
            raise KeyboardInterrupt

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        if not self._holding:
            raise KeyboardInterrupt
