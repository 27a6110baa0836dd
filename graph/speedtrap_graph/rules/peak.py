"""The busy hours of a line, as the FCC counts them: weekdays from 19:00 to 23:00 local time."""

from datetime import datetime
from zoneinfo import ZoneInfo

PEAK_FROM_HOUR = 19
PEAK_UNTIL_HOUR = 23
SATURDAY = 5
HOURS_OF_WEEK = 7 * 24

_EPOCH_HOUR = 3 * 24
"""1 January 1970 was a Thursday."""
_DAY_S = 86_400
_QUARTER_DAY_S = _DAY_S // 4


def local_hour(moment: datetime, time_zone: str) -> tuple[int, int]:
    """Weekday (0 Monday to 6 Sunday) and hour (0 to 23) on the wall clock in *time_zone* (IANA).

    On the day that an hour is repeated both count as that hour; the hour that is left out in spring
    never comes up.
    """
    local = moment.astimezone(ZoneInfo(time_zone))
    return local.weekday(), local.hour


def is_peak(weekday: int, hour: int) -> bool:
    """Whether an hour of the week, local as `local_hour` gives it, belongs to the peak."""
    return weekday < SATURDAY and PEAK_FROM_HOUR <= hour < PEAK_UNTIL_HOUR


class WeekClock:
    """The hour of the week on the wall clock of one zone, for many moments.

    A day on which the clocks stay as they are needs its offset once.
    """

    def __init__(self, time_zone: str) -> None:
        self._zone = ZoneInfo(time_zone)
        self._offsets: dict[int, int | None] = {}

    def hour_of_week(self, moment_ms: int) -> int:
        """24 times the weekday, plus the hour, as `local_hour` has them."""
        moment_s = moment_ms // 1000
        day = moment_s // _DAY_S
        try:
            offset = self._offsets[day]
        except KeyError:
            offset = self._offsets[day] = self._offset_of_day(day)
        if offset is None:
            offset = self._offset(moment_s)
        return ((moment_s + offset) // 3600 + _EPOCH_HOUR) % HOURS_OF_WEEK

    def _offset_of_day(self, day: int) -> int | None:
        """In seconds; None when clocks are set on this day of UTC."""
        quarters = range(day * _DAY_S, (day + 1) * _DAY_S + 1, _QUARTER_DAY_S)
        offsets = {self._offset(moment_s) for moment_s in quarters}
        return offsets.pop() if len(offsets) == 1 else None

    def _offset(self, moment_s: int) -> int:
        offset = datetime.fromtimestamp(moment_s, self._zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds())
