"""Which stored breach a recomputed episode is. Pure.

People have seen a breach's reference, and notices hang on it: so an episode keeps the identity of
the breach that it overlaps, of several the one that has been known longest. A breach that no
episode claims never was one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from speedtrap_graph.rules.model import Episode


class Known(Protocol):
    """A stored breach."""

    @property
    def id(self) -> str: ...
    @property
    def known_at(self) -> datetime: ...
    @property
    def first_run_at(self) -> datetime: ...
    @property
    def last_run_at(self) -> datetime: ...


@dataclass(frozen=True)
class Matching:
    """Episodes with the id of the breach they continue, None for a new one; and those that fell."""

    pairs: tuple[tuple[Episode, str | None], ...]
    fallen: tuple[str, ...]


def match(episodes: Sequence[Episode], known: Sequence[Known]) -> Matching:
    free = sorted(known, key=lambda breach: (breach.known_at, breach.first_run_at, breach.id))
    pairs: list[tuple[Episode, str | None]] = []
    for episode in episodes:
        same = next((breach for breach in free if _overlap(episode, breach)), None)
        if same is not None:
            free.remove(same)
        pairs.append((episode, None if same is None else same.id))
    return Matching(tuple(pairs), tuple(breach.id for breach in free))


def _overlap(episode: Episode, breach: Known) -> bool:
    return episode.first_run_at <= breach.last_run_at and breach.first_run_at <= episode.last_run_at
