"""Which part of a transfer was carried by all of its connections. Pure: no socket, no clock.

A figure of some connections is not the line's: where three of four were refused, the fourth tells
what a server allows one connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from speedtrap_probe.engine.estimate import Sample

ENOUGH_SHARE = 0.5  # of the window; less is no measurement


@dataclass(frozen=True, slots=True)
class Look:
    """What each connection had moved at a moment, and which of them were still at work."""

    at_s: float
    moved_bytes: tuple[int, ...]
    alive: tuple[bool, ...]

    @property
    def sample(self) -> Sample:
        return Sample(self.at_s, sum(self.moved_bytes))


def carried(looks: Sequence[Look], quiet_s: float) -> list[Sample]:
    """From the look at which all had begun to the last one before any ended or fell silent.

    Silent is who moved nothing for *quiet_s*.
    """
    begun = next((n for n, look in enumerate(looks) if all(look.moved_bytes)), len(looks))
    until = min((_carried_until(looks, begun, one, quiet_s) for one in _numbers(looks)), default=0)
    return [look.sample for look in looks[begun:until]]


def silent(looks: Sequence[Look], quiet_s: float) -> list[int]:
    """The connections, by their number, that have moved nothing during the last *quiet_s*."""
    before = [look for look in looks if looks[-1].at_s - look.at_s >= quiet_s]
    if not before:
        return []
    then, now = before[-1].moved_bytes, looks[-1].moved_bytes
    return [number for number, moved in enumerate(now) if moved == then[number]]


def _carried_until(looks: Sequence[Look], begun: int, number: int, quiet_s: float) -> int:
    """The end of the span, as an index into *looks*, that connection *number* allows."""
    last_moved = begun
    for at in range(begun, len(looks)):
        if not looks[at].alive[number]:
            return at
        if looks[at].moved_bytes[number] != looks[last_moved].moved_bytes[number]:
            last_moved = at
        elif looks[at].at_s - looks[last_moved].at_s >= quiet_s:
            return last_moved + 1
    return len(looks)


def _numbers(looks: Sequence[Look]) -> range:
    return range(len(looks[0].alive)) if looks else range(0)
