"""What runs in a row say together: their outcomes, streaks, pace and outages.

Two stretches that follow each other can be joined, and the whole is what it would be had the runs
been read one by one. So a month is put together from its days, and a report from its months.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from speedtrap_graph.rules.model import Outcome
from speedtrap_graph.rules.percentiles import MEDIAN
from speedtrap_graph.rules.sketch import ACCURACY, Sketch

SILENCE_GAPS = 3
"""Runs further apart than this many usual intervals (the median gap between the runs of the range)
have a silence between them: nobody knows what the line did, so it is held against nobody."""


@dataclass(slots=True)
class Gaps:
    """Gaps behind outage runs: how many, how long together from start to start, how long the outage
    runs themselves took, and how many gaps lead to another outage run.
    """

    n: int = 0
    gap_ms: int = 0
    lasted_ms: int = 0
    joined: int = 0

    def take(self, other: "Gaps") -> None:
        self.n += other.n
        self.gap_ms += other.gap_ms
        self.lasted_ms += other.lasted_ms
        self.joined += other.joined

    def row(self) -> tuple[int, int, int, int]:
        return self.n, self.gap_ms, self.lasted_ms, self.joined


@dataclass(slots=True)
class OutageGaps:
    """The gaps from outage runs to the next run: what an outage's length hangs on.

    Which of them are silences is known only when the whole range is, so they are kept one by one.
    `binned`, by the bins of `sketch`, are of hours that an earlier version rolled up, and whose
    runs are no longer kept.
    """

    single: list[Gaps] = field(default_factory=list)
    binned: dict[int, Gaps] = field(default_factory=dict)

    def merge(self, other: "OutageGaps") -> None:
        self.single += other.single
        for key, gaps in other.binned.items():
            self.binned.setdefault(key, Gaps()).take(gaps)

    def has_one_near(self, gap_ms: float) -> bool:
        """Whether one is so close to *gap_ms* that a sketch's accuracy decides which is longer."""
        return any(abs(gaps.gap_ms - gap_ms) <= 2 * ACCURACY * gap_ms for gaps in self.single)

    def apart(self, longest_ms: float) -> tuple[Gaps, Gaps]:
        """Those up to *longest_ms*, and those beyond."""
        near, far = Gaps(), Gaps()
        for gaps in (*self.single, *self.binned.values()):
            (near if gaps.gap_ms <= longest_ms * gaps.n else far).take(gaps)
        return near, far

    def in_order(self) -> list[Gaps]:
        """The single ones, so that no order of arrival shows."""
        return sorted(self.single, key=Gaps.row)


@dataclass(slots=True)
class Stretch:
    """Runs in the order of `(started_at, run_id)`. Moments are milliseconds since the epoch.

    `bad` and `good` are what `judgement.broken` said; `leading` and `trailing` are the bad ones
    before the first and after the last good one; `longest` is the most in a row. `intervals` are
    the milliseconds from start to start. `last_outage_ms` is how long the last run took if it was
    an outage, and None if it was none: its gap is not known yet.
    """

    measured: int = 0
    outages: int = 0
    inconclusive: int = 0
    bad: int = 0
    good: int = 0
    leading: int = 0
    trailing: int = 0
    longest: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    first_is_outage: bool = False
    last_outage_ms: int | None = None
    intervals: Sketch = field(default_factory=Sketch)
    outage_gaps: OutageGaps = field(default_factory=OutageGaps)

    @property
    def n(self) -> int:
        return self.measured + self.outages + self.inconclusive

    def take(self, start_ms: int, end_ms: int, outcome: str, verdict: bool | None) -> None:
        """One more run, later than all before."""
        is_outage = outcome == Outcome.OUTAGE
        self._reach(start_ms, is_outage=is_outage)
        self.last_ms = start_ms
        self.last_outage_ms = end_ms - start_ms if is_outage else None
        self.measured += outcome == Outcome.MEASURED
        self.outages += is_outage
        self.inconclusive += outcome == Outcome.INCONCLUSIVE
        if verdict:
            self.bad += 1
            self.trailing += 1
            self.leading += not self.good
            self.longest = max(self.longest, self.trailing)
        elif verdict is False:
            self.good += 1
            self.trailing = 0

    def join(self, later: "Stretch") -> None:
        """*later*, which stays as it is, follows this one."""
        if later.first_ms is not None:
            self._reach(later.first_ms, is_outage=later.first_is_outage)
            self.last_ms, self.last_outage_ms = later.last_ms, later.last_outage_ms
        self.intervals.merge(later.intervals)
        self.outage_gaps.merge(later.outage_gaps)
        self.longest = max(self.longest, later.longest, self.trailing + later.leading)
        if not self.good:
            self.leading += later.leading
        self.trailing = later.trailing + (0 if later.good else self.trailing)
        self.measured += later.measured
        self.outages += later.outages
        self.inconclusive += later.inconclusive
        self.bad += later.bad
        self.good += later.good

    def is_unsure_of_outages(self) -> bool:
        """Whether the usual interval must be known exactly to tell outages from silences."""
        usual_ms = self.intervals.percentile(MEDIAN)
        if usual_ms is None or not self.intervals.binned:
            return False
        return self.outage_gaps.has_one_near(SILENCE_GAPS * usual_ms)

    def outages_in_spans(self, usual_ms: float | None = None) -> tuple[int, float]:
        """How many spans the outage runs make, and their seconds together. *usual_ms* is the median
        interval, where it is known better than from `intervals`.

        Outage runs in a row are one span, from the start of the first to the start of the next run
        that is none. Where a silence (`SILENCE_GAPS`) or nothing follows, it ends with the run.
        """
        if usual_ms is None:
            usual_ms = self.intervals.percentile(MEDIAN)
        near, far = self.outage_gaps.apart(inf if usual_ms is None else SILENCE_GAPS * usual_ms)
        lasted_ms = near.gap_ms + far.lasted_ms + (self.last_outage_ms or 0)
        return self.outages - near.joined, lasted_ms / 1000

    def _reach(self, start_ms: int, *, is_outage: bool) -> None:
        """The next run starts."""
        if self.last_ms is None:
            self.first_ms, self.first_is_outage = start_ms, is_outage
            return
        gap_ms = start_ms - self.last_ms
        self.intervals.add(gap_ms)
        if self.last_outage_ms is not None:
            self.outage_gaps.single.append(Gaps(1, gap_ms, self.last_outage_ms, int(is_outage)))


def joined(stretches: Iterable[Stretch]) -> Stretch:
    """Of stretches in their order."""
    whole = Stretch()
    for stretch in stretches:
        whole.join(stretch)
    return whole
