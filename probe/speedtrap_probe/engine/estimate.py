"""Figures from samples. Pure: no socket, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev

RAMP_S = 1.0
RAMP_SHARE = 0.25
SETTLED_AFTER_S = 4.0
SETTLED_WINDOWS = 5
SETTLED_WINDOW_S = 0.5
SETTLED_SPREAD = 0.02  # standard deviation over mean of the last windows
SETTLED_DRIFT = 0.0025  # the figure against the mean of the last windows
MBPS_PER_BYTE_PER_S = 8 / 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """How many payload bytes had been moved, all connections together, at a moment."""

    at_s: float
    moved_bytes: int


def ramp_s(window_s: float) -> float:
    """The slow start to leave out: the first second, or a quarter of a shorter window.

    Counting from the very start reads 1 to 4 % low at 20 ms of round trip.
    """
    return min(RAMP_S, RAMP_SHARE * window_s)


def throughput_mbps(samples: Sequence[Sample]) -> float | None:
    """The mean after the ramp; None when nothing was moved in it.

    A mean and not a percentile of short windows: data comes in bursts, and a high percentile
    of 100 ms windows reads up to 54 % high.
    """
    if len(samples) < 2:
        return None
    ramp_ends_s, _ = counted_span(samples)
    first = next(sample for sample in samples if sample.at_s >= ramp_ends_s)
    return _rate_mbps(first, samples[-1])


def counted_span(samples: Sequence[Sample]) -> tuple[float, float]:
    """From the end of the ramp to the last sample, in the samples' seconds."""
    first, last = samples[0], samples[-1]
    return first.at_s + ramp_s(last.at_s - first.at_s), last.at_s


def settled(samples: Sequence[Sample]) -> bool:
    """The rate has stopped changing, so more data would not change the figure.

    A steady end is not enough: at 20 ms of round trip what slow start lost is repaired about a
    second after the first byte, and then half a megabyte arrives at once. In a short window at
    100 Mbps that alone is 1 %.
    """
    if not samples or samples[-1].at_s - samples[0].at_s < SETTLED_AFTER_S:
        return False
    rates = _window_rates(samples, SETTLED_WINDOW_S)[-SETTLED_WINDOWS:]
    mean, figure_mbps = fmean(rates), throughput_mbps(samples)
    if figure_mbps is None or mean <= 0 or pstdev(rates) / mean > SETTLED_SPREAD:
        return False
    return abs(figure_mbps / (mean * MBPS_PER_BYTE_PER_S) - 1) <= SETTLED_DRIFT


def stalled(samples: Sequence[Sample], for_s: float) -> bool:
    """Nothing has been moved during the last *for_s* seconds."""
    last = samples[-1]
    return any(
        sample.moved_bytes == last.moved_bytes and last.at_s - sample.at_s >= for_s
        for sample in samples
    )


def latency_ms(round_trips_ms: Sequence[float]) -> float | None:
    """The median: one late answer is the machine's, not the line's."""
    return median(round_trips_ms) if round_trips_ms else None


def jitter_ms(round_trips_ms: Sequence[float]) -> float | None:
    """The mean difference between one round trip and the next (as in RFC 3550, unsmoothed)."""
    if len(round_trips_ms) < 2:
        return None
    return fmean(abs(later - earlier) for earlier, later in pairwise(round_trips_ms))


def _rate_mbps(first: Sample, last: Sample) -> float | None:
    elapsed_s = last.at_s - first.at_s
    moved = last.moved_bytes - first.moved_bytes
    if elapsed_s <= 0 or moved <= 0:
        return None
    return moved / elapsed_s * MBPS_PER_BYTE_PER_S


def _window_rates(samples: Sequence[Sample], window_s: float) -> list[float]:
    rates, start = [], samples[0]
    for sample in samples:
        if sample.at_s - start.at_s >= window_s:
            rates.append((sample.moved_bytes - start.moved_bytes) / (sample.at_s - start.at_s))
            start = sample
    return rates
