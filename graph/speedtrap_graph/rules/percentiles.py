"""Percentiles of a sample, by linear interpolation between its order statistics.

Definition 7 of Hyndman and Fan (1996), which is NumPy's default: of the n sorted values numbered
from 0, the share q stands at (n - 1) * q; between two values it moves in a straight line from one
to the other. So 0 is the least, 1 the greatest, 0.5 the median; of a single value all are that one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from math import floor

MEDIAN = 0.5


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that *share* (0..1) of *values* stay below; None of an empty sample."""
    return percentiles(values, share)[0]


def median(values: Iterable[float]) -> float | None:
    """The middle value, or halfway between the two middle ones; None of an empty sample."""
    return percentile(values, MEDIAN)


def percentiles(values: Iterable[float], *shares: float) -> list[float | None]:
    """Several of one sample, which is sorted once."""
    ordered = sorted(values)
    return _percentiles(len(ordered), ordered.__getitem__, shares)


def percentiles_of_counted(
    counted: Iterable[tuple[float, int]], *shares: float
) -> list[float | None]:
    """Of values that come with how often each occurs (0 is allowed)."""
    ordered = sorted(counted)
    passed = list(accumulate(count for _, count in ordered))
    return _percentiles(
        passed[-1] if passed else 0, lambda rank: ordered[bisect_right(passed, rank)][0], shares
    )


def _percentiles(
    n: int, at: Callable[[int], float], shares: tuple[float, ...]
) -> list[float | None]:
    """*at* gives the value of a rank, counted from 0."""
    found: list[float | None] = []
    for share in shares if n else ():
        place = (n - 1) * share
        rank = floor(place)
        left, right = at(rank), at(min(rank + 1, n - 1))
        found.append(_between(left, right, place - rank))
    return found or [None] * len(shares)


def _between(left: float, right: float, part: float) -> float:
    """Halfway is what anybody reckons by hand, to the last digit."""
    return (left + right) / 2 if part == MEDIAN else left + part * (right - left)
