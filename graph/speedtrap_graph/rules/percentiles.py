"""Percentiles of a sample, by linear interpolation between its order statistics.

Definition 7 of Hyndman and Fan (1996), which is NumPy's default: of the n sorted values numbered
from 0, the share q stands at (n - 1) * q; between two values it moves in a straight line from one
to the other. So 0 is the least, 1 the greatest, 0.5 the median; of a single value all are that one.
"""

from collections.abc import Iterable
from math import floor

MEDIAN = 0.5


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that *share* (0..1) of *values* stay below; None of an empty sample."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = (len(ordered) - 1) * share
    left = floor(place)
    right = min(left + 1, len(ordered) - 1)
    return ordered[left] + (place - left) * (ordered[right] - ordered[left])


def median(values: Iterable[float]) -> float | None:
    """The middle value, or halfway between the two middle ones; None of an empty sample."""
    return percentile(values, MEDIAN)
