"""Moments on the wire: RFC 3339 with an offset, to the millisecond, as MongoDB keeps them."""

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_MICROSECONDS = [timedelta(microseconds=number) for number in range(1000)]
"""`datetime.replace` takes as long as all the rest that a moment costs, and a run has three."""
FIRST_YEAR, LAST_YEAR = 1970, 2199
EXAMPLE = "2026-11-24T06:00:00+01:00"


def parse_moment(value: object) -> datetime:
    """*value* in UTC; ValueError unless it is a full date and time with an offset, of a year that
    every calendar and time zone here can do something with.
    """
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            # What is finer than microseconds is cut off.
            moment = in_milliseconds(datetime.fromisoformat(value.upper()))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"is no date and time that exists; write it like {EXAMPLE}") from error
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError(f"must be of the years {FIRST_YEAR} to {LAST_YEAR}")
        return moment
    if isinstance(value, datetime) and value.tzinfo is not None:
        return in_milliseconds(value)
    raise ValueError(f"must be a date and time with an offset, such as {EXAMPLE}")


def in_milliseconds(moment: datetime) -> datetime:
    """*moment* as it comes back from the store."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    finer = utc.microsecond % 1000
    return utc - _MICROSECONDS[finer] if finer else utc


def format_moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
