"""The span of a page: whole hours or days of the plan's clock, up to now."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_web.views.line.ranges import (
    CHOICES,
    MOST_BUCKETS,
    MOST_POINTS,
    choose,
    own_dates,
    stretches,
    usual,
)

DENVER = ZoneInfo("America/Denver")
NOW = datetime(2026, 11, 24, 12, 34, 56, tzinfo=UTC)


def test_a_day_is_cut_into_hours() -> None:
    span = choose("24h", NOW, UTC, None)
    assert span.until == datetime(2026, 11, 24, 13, tzinfo=UTC)
    assert (span.until - span.since, span.buckets) == (timedelta(days=1), 24)


def test_a_month_is_cut_into_days_of_the_plans_clock() -> None:
    span = choose("30d", NOW, DENVER, None)
    assert span.until == datetime(2026, 11, 25, tzinfo=DENVER)
    assert span.buckets == 30


@pytest.mark.parametrize(("days", "buckets"), [(0.1, 3), (1, 25), (10, 41), (90, 91), (400, 101)])
def test_all_time_begins_with_the_first_run(days: float, buckets: int) -> None:
    first = NOW - timedelta(days=days)
    span = choose("all", NOW, UTC, first)
    assert span.since <= first
    assert span.buckets == buckets


def test_all_time_without_a_run_is_one_hour() -> None:
    assert choose("all", NOW, UTC, None).buckets == 1


@pytest.mark.parametrize(
    ("days", "name"), [(0, "24h"), (0.9, "24h"), (3, "7d"), (20, "30d"), (400, "30d")]
)
def test_a_young_history_is_not_drawn_as_a_speck(days: float, name: str) -> None:
    assert usual(NOW, NOW - timedelta(days=days)) == name


def test_a_month_is_cut_where_its_days_change_their_length() -> None:
    found = stretches(date(2026, 11, 1), date(2026, 12, 1), DENVER)
    assert [(days, (until - since) / timedelta(hours=1)) for since, until, days in found] == [
        (1, 25),
        (29, 29 * 24),
    ]
    assert found[0][0] == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert found[-1][1] == datetime(2026, 12, 1, 7, tzinfo=UTC)


@given(
    st.dates(date(2015, 1, 1), date(2030, 1, 1)),
    st.integers(1, 62),
    st.sampled_from(["UTC", "America/Denver", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_stretches_hold_every_day_once(first: date, days: int, name: str) -> None:
    zone = ZoneInfo(name)
    found = stretches(first, first + timedelta(days=days), zone)
    assert sum(count for *_, count in found) == days
    starts = [
        since + (until - since) / count * place
        for since, until, count in found
        for place in range(count)
    ]
    assert [start.astimezone(zone).date() for start in starts] == [
        first + timedelta(days=place) for place in range(days)
    ]


@given(
    st.sampled_from(sorted(CHOICES)),
    st.timedeltas(timedelta(0), timedelta(days=3650)).map(lambda span: NOW - span),
    st.sampled_from(["UTC", "America/Denver", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.timedeltas(timedelta(0), timedelta(days=3000)),
)
def test_every_range_holds_now_in_a_bounded_number_of_buckets(
    name: str, now: datetime, zone: str, age: timedelta
) -> None:
    span = choose(name, now, ZoneInfo(zone), now - age)
    assert span.since <= now < span.until
    assert 1 <= span.buckets <= MOST_BUCKETS + 1
    assert span.points % span.buckets == 0
    assert span.points <= MOST_POINTS


@given(
    st.dates(date(2015, 1, 1), date(2026, 1, 1)),
    st.integers(1, 800),
    st.sampled_from(["UTC", "America/Denver", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_own_dates_end_with_their_last_day(first: date, days: int, name: str) -> None:
    """Also where a day has 23 or 25 hours, and where days do not fill the last bucket."""
    zone, last = ZoneInfo(name), first + timedelta(days=days - 1)
    span = own_dates(first.isoformat(), last.isoformat(), NOW + timedelta(days=1000), zone)
    assert span is not None
    local = [moment.astimezone(zone) for moment in (span.since, span.until)]
    assert [(moment.date(), moment.hour) for moment in local] == [
        (first, 0),
        (first + timedelta(days=days), 0),
    ]
    assert 1 <= span.buckets <= MOST_BUCKETS + 1
