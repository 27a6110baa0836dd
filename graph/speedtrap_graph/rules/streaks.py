"""Streaks of broken observations, and the episodes that they grow into.

Everything here reads observations sorted by `(started_at, run_id)`, and sees three kinds of them
through `judgement.broken`: bad (True), good (False), and silent (None), which is passed over as if
it were not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from uuid import UUID

from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import Episode, Observation, Rule
from speedtrap_graph.rules.percentiles import MEDIAN
from speedtrap_graph.rules.sketch import Sketch

EXACT_MEDIAN = 500
"""As many runs as a breach lists, so that whoever checks a letter gets its figure."""


def sort_key(observation: Observation) -> tuple[datetime, UUID]:
    """The order of runs. Stored times have milliseconds only, so ties are real: the id decides."""
    return observation.started_at, observation.run_id


@dataclass(frozen=True, slots=True)
class Bad:
    """What is remembered of a bad observation. An outage has no value."""

    started_at: datetime
    run_id: UUID
    value: float | None


@dataclass(slots=True)
class Running:
    """The episode that is open. `goods` are those in a row since its last bad observation."""

    first: Bad
    opened_at: datetime
    last_run_at: datetime
    count: int
    values: Sketch
    goods: int = 0

    def take_bad(self, bad: Bad) -> None:
        self.last_run_at = bad.started_at
        self.count += 1
        self.goods = 0
        if bad.value is not None:
            self.values.add(bad.value)

    def median(self) -> float | None:
        """By the number of values alone, so that it does not matter whether they were packed."""
        few = self.values.n <= EXACT_MEDIAN
        values = self.values if few else Sketch.unpack(self.values.pack())
        return values.percentile(MEDIAN)

    def episode(self, resolved_at: datetime | None = None) -> Episode:
        return Episode(
            first_run_at=self.first.started_at,
            first_run_id=self.first.run_id,
            opened_at=self.opened_at,
            last_run_at=self.last_run_at,
            resolved_at=resolved_at,
            count=self.count,
            median=self.median(),
        )


@dataclass(slots=True)
class Tail:
    """All that the observations so far mean for the next one.

    `recent` has those that could still be part of an opening, oldest first: bad ones, and None for
    each good one between them. It is empty while an episode is open.
    """

    rule: Rule
    recent: list[Bad | None] = field(default_factory=list)
    running: Running | None = None

    def take(self, observation: Observation) -> Episode | None:
        """One more, later than all before: the episode that it ends, if it does.

        An episode opens with the bad observation that makes more than `more_than` of the last
        `out_of`, and reaches back to the first of those. It ends with the `recovered_after`th good
        one in a row, and is `resolved_at` the start of that run; after that the count begins anew.
        Bad ones that come before, between goods too few to recover, belong to it and are counted.
        """
        verdict = broken(observation, self.rule)
        if verdict is None:
            return None
        if verdict:
            self._take_bad(Bad(observation.started_at, observation.run_id, observation.value))
            return None
        if self.running is None:
            self.recent.append(None)
            self._forget()
            return None
        self.running.goods += 1
        if self.running.goods < self.rule.recovered_after:
            return None
        ended = self.running.episode(resolved_at=observation.started_at)
        self.running = None
        return ended

    def episode(self) -> Episode | None:
        """The one that is open, as it stands."""
        return None if self.running is None else self.running.episode()

    def _take_bad(self, bad: Bad) -> None:
        if self.running is not None:
            self.running.take_bad(bad)
            return
        self.recent.append(bad)
        row = [known for known in self.recent if known is not None]
        if len(row) <= self.rule.more_than:
            return
        values = Sketch(known.value for known in row if known.value is not None)
        self.running = Running(row[0], bad.started_at, bad.started_at, len(row), values)
        self.recent = []

    def _forget(self) -> None:
        """Drops what can open nothing any more: too many good ones came after it."""
        tolerated = self.rule.window - self.rule.more_than - 1
        goods = sum(known is None for known in self.recent)
        dropped = 0
        while dropped < len(self.recent):
            if self.recent[dropped] is None:
                goods -= 1
            elif goods <= tolerated:
                break
            dropped += 1
        del self.recent[:dropped]


def fold(observations: Iterable[Observation], tail: Tail) -> list[Episode]:
    """Takes *observations* into *tail*: the episodes that they end or leave open, oldest first."""
    ended = [episode for seen in observations if (episode := tail.take(seen)) is not None]
    running = tail.episode()
    return ended if running is None else [*ended, running]


def episodes(observations: Iterable[Observation], rule: Rule) -> list[Episode]:
    """The stretches in which *rule* was broken, oldest first; at most the last one is unresolved.

    `last_run_at` is the start of the last bad run; `median` is of the bad runs that have a figure
    (an outage has none), exact up to `EXACT_MEDIAN` of them and within half a percent beyond.
    """
    return fold(observations, Tail(rule))


def streak(observations: Iterable[Observation], rule: Rule) -> int:
    """How many bad observations in a row *observations* end with."""
    *_, current = chain((0,), _rows(observations, rule))
    return current


def longest_streak(observations: Iterable[Observation], rule: Rule) -> int:
    """The most bad observations in a row."""
    return max(_rows(observations, rule), default=0)


@dataclass(slots=True)
class ResetScan:
    """Looks for the point where the past no longer matters: so many goods in a row that an open
    episode has ended (`recovered_after`), and that a bad observation before them can open nothing
    together with one behind them (`window - more_than`: what is left is too few).

    After such a row a `Tail` is empty, whatever came before it. Feed it the observations away from
    a run, in either direction, one by one until `take` says True:

        scan = ResetScan(rule)
        async for document in older_runs:  # newest first
            found = observation_of(document)
            if scan.take(found):
                break  # the window begins after the row of goods that ends here
            window.append(found)
    """

    rule: Rule
    goods: int = 0

    def take(self, observation: Observation) -> bool:
        """Whether *observation* completes a row of goods that separates both its sides."""
        verdict = broken(observation, self.rule)
        if verdict is not None:
            self.goods = 0 if verdict else self.goods + 1
        return self.goods >= max(self.rule.recovered_after, self.rule.window - self.rule.more_than)


def window(observations: Sequence[Observation], index: int, rule: Rule) -> range:
    """The places that `episodes` must read again after the observation at *index* came or changed.

    It runs from a reset before *index* to a reset after it (both included) or to the ends. Every
    episode whose first run lies inside, with the observation or without it, lies inside entirely,
    and `episodes` of the window are exactly those that `episodes` of everything finds there. So:
    replace all stored episodes whose first run is inside the window by those of the window.
    """
    first, last = 0, len(observations) - 1
    scan = ResetScan(rule)
    for place in range(index - 1, -1, -1):
        if scan.take(observations[place]):
            first = place
            break
    scan = ResetScan(rule)
    for place in range(index + 1, len(observations)):
        if scan.take(observations[place]):
            last = place
            break
    return range(first, last + 1)


def _rows(observations: Iterable[Observation], rule: Rule) -> Iterable[int]:
    """The length of the row of bad ones after each observation that says anything."""
    row = 0
    for observation in observations:
        verdict = broken(observation, rule)
        if verdict is not None:
            row = row + 1 if verdict else 0
            yield row
