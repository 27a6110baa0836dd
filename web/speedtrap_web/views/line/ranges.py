"""The span of time a page is about, and the buckets its chart is cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

CHOICES: dict[str, timedelta | None] = {
    "24h": DAY,
    "7d": 7 * DAY,
    "30d": 30 * DAY,
    "90d": 90 * DAY,
    "1y": 365 * DAY,
    "all": None,
}
USUAL = ("24h", "7d", "30d")
"""Without a choice: the shortest of these that holds the first run, else the last."""

OWN = "own"
FIRST_DAY = date(2000, 1, 1)
"""Nobody measured before; a clock that says so was wrong."""

_TURNS = (2 * DAY, 14 * DAY)
MOST_BUCKETS = 120
MOST_POINTS = 720
"""More dots than this are a smear on any screen."""


@dataclass(frozen=True, slots=True)
class Range:
    """[since, until) in `buckets` equal buckets; `points` are the finer buckets of the dots."""

    name: str
    since: datetime
    until: datetime
    buckets: int
    points: int
    first_day: date | None = None
    last_day: date | None = None

    @property
    def query(self) -> dict[str, str]:
        """As it stands in the address."""
        if self.first_day is None or self.last_day is None:
            return {"range": self.name}
        return {"since": self.first_day.isoformat(), "until": self.last_day.isoformat()}


def choose(name: str, now: datetime, zone: tzinfo, first_run_at: datetime | None) -> Range:
    """The range called *name* as of *now*, on whole hours or days of the plan's clock."""
    earliest = min(first_run_at or now, now)
    span = CHOICES[name]
    bucket = _bucket(span or now - earliest)
    until = _ceil(now, min(bucket, DAY), zone)
    count = max(1, -(-(span or until - earliest) // bucket))
    since = until - count * bucket
    return Range(name, since, until, count, max(count, MOST_POINTS - MOST_POINTS % count))


def own_dates(since: str, until: str, now: datetime, zone: tzinfo) -> Range | None:
    """From the start of the day *since* to the end of the day *until* on the plan's clock.

    None where the two are no dates in this order, or lie beyond all that can have been measured.
    """
    try:
        first, last = date.fromisoformat(since), date.fromisoformat(until)
    except ValueError:
        return None
    if not FIRST_DAY <= first <= last <= now.astimezone(zone).date():
        return None
    start, end = midnight(first, zone), midnight(last + DAY, zone)
    bucket = _own_bucket(end - start)
    # Buckets of days are the calendar's, and the last one ends with the range.
    span = last + DAY - first if bucket >= DAY else end - start
    count = max(1, -(-span // bucket))
    points = max(count, MOST_POINTS - MOST_POINTS % count)
    return Range(OWN, start, end, count, points, first, last)


def _own_bucket(span: timedelta) -> timedelta:
    """Where clocks are set, no number of quarters of a day makes the range."""
    bucket = _bucket(span)
    if bucket >= DAY or span % bucket == timedelta():
        return bucket
    return HOUR if span <= MOST_BUCKETS * HOUR else DAY


def midnight(day: date, zone: tzinfo) -> datetime:
    """The start of *day* on the clock of *zone*, in UTC; days are 23 to 25 hours long."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def stretches(first: date, after: date, zone: tzinfo) -> list[tuple[datetime, datetime, int]]:
    """[first, after) in stretches of equally long days: (since, until, days) of each.

    Where clocks are set a day has 23 or 25 hours, and buckets of equal width would drift from it.
    """
    found: list[tuple[datetime, datetime, int]] = []
    day = first
    while day < after:
        start, end = midnight(day, zone), midnight(day + DAY, zone)
        if found and (found[-1][1] - found[-1][0]) == (end - start) * found[-1][2]:
            found[-1] = (found[-1][0], end, found[-1][2] + 1)
        else:
            found.append((start, end, 1))
        day += DAY
    return found


def usual(now: datetime, first_run_at: datetime | None) -> str:
    """The range of a page whose address names none: a young history is not drawn as a speck."""
    age = now - (first_run_at or now)
    fits = (name for name in USUAL if age <= (CHOICES[name] or age))
    return next(fits, USUAL[-1])


def turns(first_run_at: datetime | None, now: datetime) -> Iterator[datetime]:
    """When a history that began then grows out of a usual range or a width of buckets."""
    if first_run_at is None:
        return
    spans = (CHOICES[name] for name in USUAL)
    yield from (first_run_at + span for span in (*spans, *_TURNS) if span is not None)
    wide = MOST_BUCKETS * DAY
    yield first_run_at + ((now - first_run_at) // wide + 1) * wide


def _bucket(span: timedelta) -> timedelta:
    """An hour up to two days, a quarter of a day up to two weeks, then whole days."""
    if span <= _TURNS[0]:
        return HOUR
    if span <= _TURNS[1]:
        return 6 * HOUR
    days = -(-span // (MOST_BUCKETS * DAY))
    return days * DAY


def _ceil(moment: datetime, step: timedelta, zone: tzinfo) -> datetime:
    """The next whole *step* after *moment*, counted from local midnight."""
    local = moment.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    steps = (moment - midnight) // step + 1
    return (midnight + steps * step).astimezone(moment.tzinfo)
