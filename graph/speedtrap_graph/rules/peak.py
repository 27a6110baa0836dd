"""The busy hours of a line, as the FCC counts them: weekdays from 19:00 to 23:00 local time."""

from datetime import datetime
from zoneinfo import ZoneInfo

PEAK_FROM_HOUR = 19
PEAK_UNTIL_HOUR = 23
SATURDAY = 5


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
