"""Streaks of broken observations, and the episodes that they grow into.

Everything here reads observations sorted by `(started_at, run_id)`, and sees three kinds of them
through `judgement.broken`: bad (True), good (False), and silent (None), which is passed over as if
it were not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from statistics import median
from uuid import UUID

from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import Episode, Observation, Rule


def sort_key(observation: Observation) -> tuple[datetime, UUID]:
    """The order of runs. Stored times have milliseconds only, so ties are real: the id decides."""
    return observation.started_at, observation.run_id


def episodes(observations: Iterable[Observation], rule: Rule) -> list[Episode]:
    """The stretches in which *rule* was broken, oldest first; at most the last one is unresolved.

    An episode opens with the bad observation that makes more than `more_than` in a row, and
    reaches back to the first of that row; while none is open, one good observation ends the row. It
    ends with the `recovered_after`th good observation in a row, and is `resolved_at` the start of
    that run. Bad ones that come before, between goods too few to recover, belong to it and are
    counted. `last_run_at` is the start of the last bad run; `median` is of the bad runs that have a
    figure (an outage has none).
    """
    found: list[Episode] = []
    bad: list[Observation] = []
    goods = 0
    for observation in observations:
        verdict = broken(observation, rule)
        if verdict is None:
            continue
        if verdict:
            bad.append(observation)
            goods = 0
            continue
        goods += 1
        if len(bad) <= rule.more_than:
            bad = []
        elif goods >= rule.recovered_after:
            found.append(_episode(bad, rule, resolved_at=observation.started_at))
            bad = []
    if len(bad) > rule.more_than:
        found.append(_episode(bad, rule, resolved_at=None))
    return found


def streak(observations: Iterable[Observation], rule: Rule) -> int:
    """How many bad observations in a row *observations* end with."""
    *_, current = chain((0,), _rows(observations, rule))
    return current


def longest_streak(observations: Iterable[Observation], rule: Rule) -> int:
    """The most bad observations in a row."""
    return max(_rows(observations, rule), default=0)


@dataclass(slots=True)
class ResetScan:
    """Looks for the point where the past no longer matters: `recovered_after` goods in a row.

    After such a row nothing is open and no streak is under way, whatever came before it. Feed it
    the observations away from a run, in either direction, one by one until `take` says True:

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
        return self.goods >= self.rule.recovered_after


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


def _episode(bad: Sequence[Observation], rule: Rule, resolved_at: datetime | None) -> Episode:
    values = [observation.value for observation in bad if observation.value is not None]
    return Episode(
        first_run_at=bad[0].started_at,
        opened_at=bad[rule.more_than].started_at,
        last_run_at=bad[-1].started_at,
        resolved_at=resolved_at,
        bad_run_ids=tuple(observation.run_id for observation in bad),
        median=median(values) if values else None,
    )
