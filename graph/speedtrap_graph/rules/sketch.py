"""A mergeable summary of a sample: exact while it is small, within half a percent beyond that.

A DDSketch (Masson, Rim, Lee, 2019) that never collapses: a value v > 0 is counted in bin
ceil(log v / log g) with g = (1 + a) / (1 - a), and stands for a value at most the share a away from
all that fall into that bin. The ends are kept as they are. Merging adds counts, so neither the
order of the values nor their split into sketches matters.
"""

from collections.abc import Iterable
from math import ceil, exp, inf, log
from struct import calcsize, pack, unpack_from

from speedtrap_graph.rules.percentiles import percentiles, percentiles_of_counted

ACCURACY = 0.005
"""Half of the percent that a rolled-up figure may be off, so that rounding never matters."""

KEPT_VALUES = 32
"""A packed sketch of at most this many keeps the values themselves; they are no larger than the
bins would be, and the median of a few runs is a figure that somebody can check by hand."""

_LOG_GAMMA = log((1 + ACCURACY) / (1 - ACCURACY))
_MIDDLE = 1 - ACCURACY
_LOWEST, _HIGHEST = -32767, 32767
_NOTHING = -32768
"""The bin of 0, and of what is below it: no figure is, but a difference of times can be."""

_VALUES, _BINS = b"v", b"b"
_HEAD = "<cddH"
_HEAD_BYTES = calcsize(_HEAD)


class Sketch:
    """In memory it keeps what it was given; `pack` decides by `n` alone what stays exact.

    `bins` count the values that are no longer kept: `binned` of them, with their ends.
    """

    __slots__ = ("binned", "binned_greatest", "binned_least", "bins", "values")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values = list(values)
        self.bins: dict[int, int] = {}
        self.binned = 0
        self.binned_least, self.binned_greatest = inf, -inf

    def __eq__(self, other: object) -> bool:
        """The same sample, as far as a packed sketch can tell."""
        return isinstance(other, Sketch) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment] # it changes

    @property
    def n(self) -> int:
        return len(self.values) + self.binned

    @property
    def least(self) -> float | None:
        return min(self.binned_least, min(self.values, default=inf)) if self.n else None

    @property
    def greatest(self) -> float | None:
        return max(self.binned_greatest, max(self.values, default=-inf)) if self.n else None

    def add(self, value: float) -> None:
        self.values.append(value)

    def merge(self, other: "Sketch") -> None:
        """Takes in all of *other*, which stays as it is."""
        self.values += other.values
        if other.bins:
            bins = self.bins
            for key, count in other.bins.items():
                bins[key] = bins.get(key, 0) + count
            self.binned += other.binned
            self.binned_least = min(self.binned_least, other.binned_least)
            self.binned_greatest = max(self.binned_greatest, other.binned_greatest)

    def settle(self) -> None:
        """Counts what `pack` would not keep, so that what follows looks at bins and not values."""
        if self.n <= KEPT_VALUES:
            return
        self.binned_least = min(self.binned_least, min(self.values, default=inf))
        self.binned_greatest = max(self.binned_greatest, max(self.values, default=-inf))
        self.binned = self.n
        bins = self.bins
        for value in self.values:
            key = bin_of(value)
            bins[key] = bins.get(key, 0) + 1
        self.values = []

    def percentile(self, share: float) -> float | None:
        """As `percentiles.percentile`, of everything that was added."""
        return self.percentiles(share)[0]

    def percentiles(self, *shares: float) -> list[float | None]:
        if self.bins:
            return percentiles_of_counted(self.counted(), *shares)
        return percentiles(self.values, *shares)

    def counted(self) -> list[tuple[float, int]]:
        """Values and how often each occurs, in no order. The ends are exact."""
        counted = [(value, 1) for value in self.values]
        if not self.bins:
            return counted
        counted += [
            (min(max(value_of(key), self.binned_least), self.binned_greatest), count)
            for key, count in self.bins.items()
        ]
        lowest, highest = counted.index(min(counted)), counted.index(max(counted))
        for place, end in ((lowest, self.least), (highest, self.greatest)):
            value, count = counted[place]
            counted[place] = value, count - 1
            counted.append((value if end is None else end, 1))
        return counted

    def pack(self) -> bytes:
        """The same bytes for the same sample, however it was put together."""
        if self.n <= KEPT_VALUES:
            return pack(f"<c{self.n}d", _VALUES, *sorted(self.values))
        settled = Sketch()
        settled.merge(self)
        settled.settle()
        keys = sorted(settled.bins)
        counts = [settled.bins[key] for key in keys]
        head = pack(_HEAD, _BINS, settled.binned_least, settled.binned_greatest, len(keys))
        return head + pack(f"<{len(keys)}h{len(keys)}I", *keys, *counts)

    @classmethod
    def unpack(cls, packed: bytes) -> "Sketch":
        sketch = cls()
        if packed[:1] == _VALUES:
            sketch.values = list(unpack_from(f"<{len(packed) // 8}d", packed, 1))
            return sketch
        _, sketch.binned_least, sketch.binned_greatest, size = unpack_from(_HEAD, packed)
        numbers = unpack_from(f"<{size}h{size}I", packed, _HEAD_BYTES)
        sketch.bins = dict(zip(numbers[:size], numbers[size:], strict=True))
        sketch.binned = sum(numbers[size:])
        return sketch


def bin_of(value: float) -> int:
    if value <= 0:
        return _NOTHING
    return min(max(ceil(log(value) / _LOG_GAMMA), _LOWEST), _HIGHEST)


def value_of(key: int) -> float:
    """The value that is relatively as far from the one end of the bin as from the other."""
    return 0.0 if key == _NOTHING else _MIDDLE * exp(key * _LOG_GAMMA)
