"""Round trips of small requests on a warm connection, idle and while a transfer loads the line."""

import threading
import time
from dataclasses import dataclass

from speedtrap_probe.engine import estimate
from speedtrap_probe.engine.answers import check_status
from speedtrap_probe.engine.connection.wire import Target, explained
from speedtrap_probe.engine.link import Link
from speedtrap_probe.engine.server_timing import line_ms, server_ms
from speedtrap_probe.errors import ToolError
from speedtrap_probe.tool import Progress, silent

ROUND_TRIPS = 20
WITHIN_S = 60.0  # all round trips: 3 s each, which no line is that can be used
PAUSE_S = 0.02
LOADED_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Latency:
    """Idle round trip and its variation."""

    latency_ms: float
    jitter_ms: float | None


def measure(
    target: Target,
    method: str = "GET",
    round_trips: int = ROUND_TRIPS,
    progress: Progress = silent,
    within_s: float = WITHIN_S,
) -> Latency | None:
    """Times *round_trips* requests; the first, which opens the connection, is not counted."""
    link, taken_ms = Link(target), list[float]()
    try:
        with explained(target), link.within(within_s):
            for _ in range(round_trips + 1):
                taken_ms.append(_round_trip_ms(link, method))
                progress("latency", 0)
                time.sleep(PAUSE_S)
    finally:
        link.close()
    counted = taken_ms[1:]
    middle = estimate.latency_ms(counted)
    return Latency(middle, estimate.jitter_ms(counted)) if middle else None


class UnderLoad(threading.Thread):
    """Round trips on a connection of its own, while others load the line.

    That it fails is not worth a measurement: then there is no loaded latency.
    """

    def __init__(self, target: Target, method: str) -> None:
        super().__init__(daemon=True)
        self._link = Link(target)
        self._method = method
        self._stopping = False
        self._taken: list[tuple[float, float]] = []

    def run(self) -> None:
        try:
            with explained(self._link.target):
                while not self._stopping:
                    started_s = time.perf_counter()
                    self._taken.append((started_s, _round_trip_ms(self._link, self._method)))
                    time.sleep(LOADED_PAUSE_S)
        except ToolError:
            return
        finally:
            self._link.close()

    def stop(self) -> None:
        self._stopping = True
        self._link.abort()

    def latency_ms(self, since_s: float, until_s: float) -> float | None:
        """The median of the round trips that began and ended between these moments."""
        return estimate.latency_ms(
            [ms for at_s, ms in self._taken if since_s <= at_s <= until_s - ms / 1000]
        )


def _round_trip_ms(link: Link, method: str) -> float:
    started = time.perf_counter()
    answer = link.request(method, link.target.url)
    taken_ms = (time.perf_counter() - started) * 1000
    check_status(link.target, answer.status, answer.headers)
    link.finish(answer)
    thinking_ms = server_ms(answer.headers.get_all("Server-Timing", ()))
    return line_ms(taken_ms, thinking_ms, link.least_round_trip_ms())
