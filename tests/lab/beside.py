"""How a good client fares beside an attack, as a ratio to how it fares alone, and memory kept."""

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psutil

MOST_RATIO = 3.0
LEAST_P99_S = 0.1
"""Below this, a p99 alone is that of an idle scheduler, which any other work exceeds."""
MOST_KEPT_BYTES = 50 * 2**20
SAMPLES = 100
PAUSE_S = 0.01

Ask = Callable[[], Awaitable[None]]


def p99(durations: list[float]) -> float:
    return sorted(durations)[math.ceil(len(durations) * 0.99) - 1]


@dataclass(frozen=True, slots=True)
class Fared:
    """Seconds of the good client's p99, and the growth of a process's memory in bytes."""

    alone_s: float
    beside_s: float
    grown_bytes: int
    least_p99_s: float = LEAST_P99_S

    @property
    def ratio(self) -> float:
        return self.beside_s / max(self.alone_s, self.least_p99_s)


async def asked(ask: Ask, durations: list[float], until: Callable[[], bool]) -> None:
    while not until():
        began = time.monotonic()
        await ask()
        durations.append(time.monotonic() - began)
        await asyncio.sleep(PAUSE_S)


async def beside(
    ask: Ask,
    attack: Ask,
    process: psutil.Process | None = None,
    least_p99_s: float = LEAST_P99_S,
) -> Fared:
    """*ask*, alone and then while *attack* goes on; of *process*, else of this one."""
    alone: list[float] = []
    during: list[float] = []
    process = process or psutil.Process()
    await asked(ask, alone, lambda: len(alone) >= SAMPLES)
    gc.collect()
    before = process.memory_info().rss
    attacking = asyncio.create_task(_whole(attack))
    await asked(ask, during, lambda: attacking.done() and len(during) >= SAMPLES)
    await attacking
    gc.collect()
    return Fared(p99(alone), p99(during), process.memory_info().rss - before, least_p99_s)


async def _whole(attack: Ask) -> None:
    await attack()
