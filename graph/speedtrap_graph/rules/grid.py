"""The buckets that runs are rolled up into: hours, days and months of a line's own calendar.

A day begins at local midnight and a month with its first day, whatever the zone's offset; hours are
counted from the day's beginning. So days have 23 to 25 hours, the last of which may be short where
clocks are set by half an hour, and each bucket lies in exactly one of the next coarser level.
Everything is in whole milliseconds since the epoch.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
_DAY = timedelta(days=1)
_DECEMBER = 12


class Level(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    @property
    def usual_ms(self) -> int:
        """How long a bucket is on an ordinary day, or in a mean Gregorian month."""
        return {Level.HOUR: HOUR_MS, Level.DAY: 24 * HOUR_MS, Level.MONTH: 2_629_746_000}[self]


COARSEST_FIRST = (Level.MONTH, Level.DAY, Level.HOUR)


class Grid:
    """The calendar of one time zone (IANA)."""

    def __init__(self, time_zone: str) -> None:
        self.time_zone = time_zone
        self._zone = ZoneInfo(time_zone)
        self._day_start = lru_cache(maxsize=8192)(self._find_day_start)

    def floor(self, level: Level, moment_ms: int) -> int:
        """The start of the bucket that *moment_ms* lies in."""
        return self.bounds(level, moment_ms)[0]

    def ceil(self, level: Level, moment_ms: int) -> int:
        """*moment_ms* if a bucket starts there, else the start of the next."""
        start, end = self.bounds(level, moment_ms)
        return start if start == moment_ms else end

    def bounds(self, level: Level, moment_ms: int) -> tuple[int, int]:
        """[start, end) of the bucket that *moment_ms* lies in."""
        day = self._date(moment_ms)
        if level is Level.MONTH:
            return self._month_bounds(day)
        start, end = self._day_start(day), self._day_start(day + _DAY)
        if level is Level.DAY:
            return start, end
        hour = start + (moment_ms - start) // HOUR_MS * HOUR_MS
        return hour, min(hour + HOUR_MS, end)

    def starts(self, level: Level, start_ms: int, end_ms: int) -> Iterator[int]:
        """The starts of the buckets in [*start_ms*, *end_ms*), the first of which begins there."""
        step = Level.DAY if level is Level.HOUR else level
        while start_ms < end_ms:
            following = self.bounds(step, start_ms)[1]
            if level is Level.HOUR:
                yield from range(start_ms, min(following, end_ms), HOUR_MS)
            else:
                yield start_ms
            start_ms = following

    def _date(self, moment_ms: int) -> date:
        """The date whose day holds the moment, even where clocks were set back over midnight."""
        day = (datetime.fromtimestamp(moment_ms // 1000, UTC)).astimezone(self._zone).date()
        while self._day_start(day) > moment_ms:
            day -= _DAY
        while self._day_start(day + _DAY) <= moment_ms:
            day += _DAY
        return day

    def _month_bounds(self, day: date) -> tuple[int, int]:
        first = day.replace(day=1)
        year, month = divmod(first.year * 12 + first.month, 12)
        return self._day_start(first), self._day_start(date(year, month + 1, 1))

    def _find_day_start(self, day: date) -> int:
        # Of a midnight that is repeated the first; of one that is left out when it would have been.
        return round(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp() * 1000)


@lru_cache(maxsize=64)
def grid_of(time_zone: str) -> Grid:
    return Grid(time_zone)


def cover(
    grid: Grid, start_ms: int, end_ms: int, coarsest: Level
) -> Iterator[tuple[Level | None, int, int]]:
    """[*start_ms*, *end_ms*) as spans of whole buckets, as coarse as may be, in order of time.

    What no hour fills entirely comes with the level None: to be read run by run.
    """
    levels = COARSEST_FIRST[COARSEST_FIRST.index(coarsest) :]
    yield from _cover(grid, start_ms, end_ms, levels)


def _cover(
    grid: Grid, start_ms: int, end_ms: int, levels: tuple[Level, ...]
) -> Iterator[tuple[Level | None, int, int]]:
    if start_ms >= end_ms:
        return
    if not levels:
        yield None, start_ms, end_ms
        return
    level, finer = levels[0], levels[1:]
    first, last = grid.ceil(level, start_ms), grid.floor(level, end_ms)
    if first >= last:
        yield from _cover(grid, start_ms, end_ms, finer)
        return
    yield from _cover(grid, start_ms, first, finer)
    yield level, first, last
    yield from _cover(grid, last, end_ms, finer)
