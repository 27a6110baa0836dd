"""Round trips of small requests on a warm connection."""

import time
from dataclasses import dataclass

from speedtrap_probe.engine import estimate
from speedtrap_probe.engine.link import Link, Target, check_status, explained
from speedtrap_probe.tool import Progress, silent

ROUND_TRIPS = 20
PAUSE_S = 0.02


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
) -> Latency | None:
    """Times *round_trips* requests; the first, which opens the connection, is not counted."""
    link, taken_ms = Link(target), list[float]()
    try:
        with explained(target):
            for _ in range(round_trips + 1):
                started = time.perf_counter()
                answer = link.request(method, target.url)
                answer.drain_conn()
                taken_ms.append((time.perf_counter() - started) * 1000)
                check_status(target, answer.status)
                progress("latency", 0)
                time.sleep(PAUSE_S)
    finally:
        link.close()
    counted = taken_ms[1:]
    middle = estimate.latency_ms(counted)
    return Latency(middle, estimate.jitter_ms(counted)) if middle else None
