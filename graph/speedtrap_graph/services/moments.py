"""Moments on the wire: RFC 3339 with an offset, to the millisecond, as MongoDB keeps them."""

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_MICROSECONDS = [timedelta(microseconds=number) for number in range(1000)]
"""`datetime.replace` takes as long as all the rest that a moment costs, and a run has three."""
EXAMPLE = "2026-11-24T06:00:00+01:00"


def parse_moment(value: object) -> datetime:
    """*value* in UTC; ValueError unless it is a full date and time with an offset."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            # What is finer than microseconds is cut off.
            return in_milliseconds(datetime.fromisoformat(value.upper()))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"is no date and time that exists; write it like {EXAMPLE}") from error
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
