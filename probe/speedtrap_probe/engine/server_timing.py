"""How long a server says that it thought (`Server-Timing`): not the line's time. Pure."""

import math
import re
from collections.abc import Iterable

# Metrics end at commas and their parameters at semicolons, but not inside of quotes.
METRIC = re.compile(r"""(?:[^,"]|"(?:[^"\\]|\\.)*")+""")
PARAMETER = re.compile(r"""(?:[^;"]|"(?:[^"\\]|\\.)*")+""")
NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
# Cloudflare: the whole request in one metric, or its parts, which add up.
WHOLE = re.compile(r"cfreq(uest)?dur(ation)?", re.IGNORECASE)
PART = re.compile(r"cfspeed[a-z]*", re.IGNORECASE)
LOOKED_AT_CHARACTERS = 2000
UNTOLD_MS = 0.01  # what Cloudflare writes where the whole was not measured


def server_ms(headers: Iterable[str]) -> float:
    """Of all headers and metrics of one answer; 0 where nothing is told.

    Metrics of other servers may contain one another: the longest is what is certain.
    """
    # Quotes that never end would be looked for from each of them again.
    text = ",".join(headers)[:LOOKED_AT_CHARACTERS]
    told = _metrics(text)
    whole = [ms for name, ms in told if WHOLE.fullmatch(name)]
    if max(whole, default=0.0) > UNTOLD_MS:
        return max(whole)
    if parts := [ms for name, ms in told if PART.fullmatch(name)]:
        return sum(parts)
    return max((ms for _name, ms in told), default=0.0)


def line_ms(taken_ms: float, thinking_ms: float, least_ms: float | None) -> float:
    """What is the line's of a round trip.

    A server that says it thought for longer than the transport's own shortest round trip leaves is
    not believed: its clock is not ours.
    """
    rest_ms = taken_ms - thinking_ms
    return rest_ms if rest_ms > 0 and rest_ms >= (least_ms or 0.0) else taken_ms


def _metrics(header: str) -> list[tuple[str, float]]:
    found = []
    for metric in METRIC.findall(header):
        name, *parameters = PARAMETER.findall(metric)
        told = [_duration_ms(one) for one in parameters]
        found += [(name.strip(), ms) for ms in told if ms is not None and math.isfinite(ms)]
    return found


def _duration_ms(parameter: str) -> float | None:
    name, _, value = parameter.partition("=")
    number = value.strip().strip('"').strip()
    known = name.strip().lower() == "dur" and NUMBER.fullmatch(number)
    return float(number) if known else None
