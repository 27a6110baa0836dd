"""Spans of time as people write them, and the moments that a watch measures at."""

import random
import re
from collections.abc import Iterator

from speedtrap_probe.errors import SettingsError

UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST_JITTER_S = 600.0
SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)


def seconds(text: str) -> int:
    """`5h30m` is 19,800. Raises SettingsError for anything but days, hours, minutes, seconds."""
    match = SPAN.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        raise SettingsError(f"{text!r} is no span of time: write e.g. 5h30m, 1h, 90s")
    return sum(
        int(count) * unit_s
        for count, unit_s in zip(match.groups(default="0"), UNITS_S.values(), strict=True)
    )


def words(span_s: float) -> str:
    """19,800 s are `5h30m`, of which the two largest parts are told."""
    left, parts = round(span_s), []
    for unit, unit_s in UNITS_S.items():
        count, left = divmod(left, unit_s)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts[:2]) or "0s"


def jitter_s(text: str | None, every_s: float) -> float:
    """As given; else a tenth, at most ten minutes, so that probes do not all start on the hour."""
    return min(every_s / 10, LONGEST_JITTER_S) if text is None else seconds(text)


def moments(
    start_s: float, every_s: float, jitter_s: float, chance: random.Random
) -> Iterator[float]:
    """When to measure, on a clock that never jumps: at once, then every *every_s* seconds.

    Each moment is moved by up to *jitter_s* either way, so that probes do not all start
    together, without the moves adding up.
    """
    yield start_s
    round_number = 0
    while True:
        round_number += 1
        yield start_s + round_number * every_s + chance.uniform(-jitter_s, jitter_s)
