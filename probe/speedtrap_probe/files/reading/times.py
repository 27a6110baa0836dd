"""Local times of old reports, as they were written and as spreadsheets rewrite them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

WRITTEN = re.compile(
    r"(?P<a>\d{1,4})(?P<mark>[/.-])(?P<b>\d{1,2})(?P=mark)(?P<c>\d{1,4})[ T]+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?"
    r"\s*(?P<half>[ap])?(?:\.?m\.?)?",
    re.IGNORECASE | re.ASCII,
)
EXAMPLE = "2019/12/24 18:30:00"
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Written:
    """Three numbers of a date in the order of the text, and the time of day."""

    text: str
    date: tuple[int, int, int]
    clock: tuple[int, int, int]
    unpadded: bool

    @property
    def year_first(self) -> bool:
        return self.date[0] > 31

    def read(self, *, month_first: bool) -> datetime:
        """Without a zone. Raises ValueError."""
        a, b, c = self.date
        year_last = (c, a, b) if month_first else (c, b, a)
        day = (a, b, c) if self.year_first else year_last
        try:
            return datetime(*day, *self.clock)  # noqa: DTZ001 - its zone comes with the report
        except ValueError:
            raise ValueError(f"there is no time {self.text!r}") from None


def written(text: str) -> Written:
    """Raises ValueError for what is no time."""
    match = WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"no time like {EXAMPLE}: {text[:40]!r}")
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    date = (int(match["a"]), int(match["b"]), int(match["c"]))
    clock = (hour, int(match["minute"]), int(match["second"] or 0))
    unpadded = len(match["a"]) == 1 or len(match["b"]) == 1
    return Written(text.strip(), date, clock, unpadded)


def month_first(times: Sequence[Written]) -> bool | None:
    """Whether 11/1/2019 is the first of November here; None where nothing tells.

    A day beyond 12 tells, then the order of the rows, then that only the US leave out zeros.
    """
    unclear = [one for one in times if not one.year_first]
    if any("." in one.text.split()[0] for one in unclear):
        return False  # 01.11.2019
    day_first = any(one.date[0] > MONTHS for one in unclear)
    day_second = any(one.date[1] > MONTHS for one in unclear)
    if day_first != day_second or not unclear:
        return day_second
    if day_first:
        return None
    ordered = {way for way in (True, False) if _in_order(unclear, way)}
    if len(ordered) == 1:
        return ordered.pop()
    return True if any(one.unpadded for one in unclear) else None


def _in_order(times: Sequence[Written], way: bool) -> bool:
    moments = [one.read(month_first=way) for one in times]
    return moments == sorted(moments)


def in_utc(naive: datetime, zone: tzinfo | None, before: datetime | None) -> datetime:
    """*zone* None: this machine's. In the hour that a clock change repeats, a time that is not
    later than the row *before* it is of the second time round.
    """
    first, second = (_utc(naive.replace(fold=fold), zone) for fold in (0, 1))
    repeated = second > first
    return second if repeated and before is not None and first <= before < second else first


def _utc(naive: datetime, zone: tzinfo | None) -> datetime:
    return (naive.replace(tzinfo=zone) if zone else naive).astimezone(UTC)
