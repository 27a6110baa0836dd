"""The busy hours on the wall clock of the line, on ordinary days and when clocks change."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.peak import WeekClock, is_peak, local_hour


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def peak_at(text: str, time_zone: str) -> bool:
    return is_peak(*local_hour(at(text), time_zone))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02T18:59:59.999Z", False),
        ("2026-03-02T19:00:00Z", True),
        ("2026-03-02T22:59:59.999Z", True),
        ("2026-03-02T23:00:00Z", False),
        ("2026-03-06T20:00:00Z", True),
        ("2026-03-07T20:00:00Z", False),
        ("2026-03-08T20:00:00Z", False),
    ],
)
def test_peak_is_monday_to_friday_from_19_to_23(moment: str, expected: bool) -> None:
    assert peak_at(moment, "UTC") is expected


def test_peak_is_on_the_wall_clock_of_the_line_in_summer_and_in_winter() -> None:
    assert peak_at("2026-01-15T18:00:00Z", "Europe/Berlin")
    assert not peak_at("2026-07-15T21:00:00Z", "Europe/Berlin")
    assert peak_at("2026-07-15T17:00:00Z", "Europe/Berlin")
    assert not peak_at("2026-01-15T17:59:00Z", "Europe/Berlin")


def test_the_weekday_is_the_lines_too() -> None:
    assert local_hour(at("2026-03-07T03:00:00Z"), "America/Denver") == (4, 20)
    assert peak_at("2026-03-07T03:00:00Z", "America/Denver")


def test_half_hour_zones_begin_their_peak_on_the_half_hour() -> None:
    assert not peak_at("2026-03-02T13:29:00Z", "Asia/Kolkata")
    assert peak_at("2026-03-02T13:30:00Z", "Asia/Kolkata")


def test_both_passes_of_the_repeated_hour_are_that_hour() -> None:
    first, second = at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")
    assert local_hour(first, "Europe/Berlin") == local_hour(second, "Europe/Berlin") == (6, 2)


def test_the_hour_that_spring_leaves_out_never_comes_up() -> None:
    day = at("2026-03-29T00:00:00+01:00")
    hours = [local_hour(day + timedelta(hours=n), "Europe/Berlin")[1] for n in range(23)]
    assert hours == [0, 1, *range(3, 24)]


@given(
    st.datetimes(
        datetime(2000, 1, 1),  # noqa: DTZ001 -- hypothesis wants naive bounds
        datetime(2037, 1, 1),  # noqa: DTZ001 -- the same
        timezones=st.just(UTC),
    ),
    st.sampled_from(["UTC", "America/Denver", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_every_week_has_twenty_peak_hours(moment: datetime, time_zone: str) -> None:
    """Clocks change at night, so not even those weeks differ."""
    steps = [moment + timedelta(minutes=15 * step) for step in range(7 * 24 * 4)]
    in_peak = sum(is_peak(*local_hour(step, time_zone)) for step in steps)
    assert 20 * 4 - 4 <= in_peak <= 20 * 4 + 4


@given(
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]
    ),
    st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001 - made UTC below
)
def test_the_clock_for_many_moments_agrees_with_the_one_for_one(
    zone: str, moment: datetime
) -> None:
    at = moment.replace(tzinfo=UTC, microsecond=0)
    weekday, hour = local_hour(at, zone)
    clock = WeekClock(zone)
    assert clock.hour_of_week(round(at.timestamp() * 1000)) == 24 * weekday + hour


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_every_quarter_of_a_year_has_its_hour_of_the_week(zone: str) -> None:
    clock = WeekClock(zone)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for quarter in range(0, 365 * 96, 3):
        at = start + timedelta(minutes=15 * quarter)
        weekday, hour = local_hour(at, zone)
        assert clock.hour_of_week(round(at.timestamp() * 1000)) == 24 * weekday + hour
