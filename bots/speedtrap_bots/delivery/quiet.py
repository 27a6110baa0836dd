"""Quiet hours: when a channel that people hear should not speak. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Every day from *begin* to *end* on the clocks of *zone*; over midnight when end < begin."""

    begin: time
    end: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """When they end, if *now* is within them."""
        local = now.astimezone(self.zone)
        for days in (-1, 0):
            day = (local + timedelta(days=days)).date()
            begin = datetime.combine(day, self.begin, self.zone)
            ends_on = day if self.begin < self.end else day + timedelta(days=1)
            end = datetime.combine(ends_on, self.end, self.zone)
            if begin <= local < end:
                return end
        return None


def parse_quiet_hours(text: str, zone: str) -> QuietHours | None:
    """*text* like 22:00-08:00, empty for none; ValueError says what is wrong with it."""
    if not text:
        return None
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError("must look like 22:00-08:00")
    from_h, from_min, to_h, to_min = (int(part) for part in found.groups())
    begin, end = time(from_h, from_min), time(to_h, to_min)
    if begin == end:
        raise ValueError("must not begin and end at the same time")
    return QuietHours(begin, end, ZoneInfo(zone))
