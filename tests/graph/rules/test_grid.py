"""The calendars that runs are rolled up by."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.grid import COARSEST_FIRST, HOUR_MS, Grid, Level, cover, grid_of

ZONES = (
    "UTC", "Europe/Berlin", "America/Denver", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham",
    "Australia/Lord_Howe", "America/St_Johns", "America/Havana", "Africa/Cairo", "Pacific/Apia",
    "America/Sao_Paulo", "Africa/Monrovia",
)  # fmt: skip
MOMENTS = st.integers(0, 4_000_000_000_000)


def milliseconds(*local: int, zone: str) -> int:
    return round(datetime(*local, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type,misc] # year to second


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", (2026, 3, 29), 24),
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("Asia/Kolkata", (2026, 3, 29), 24),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("Africa/Cairo", (2026, 4, 24), 23),
        ("America/Havana", (2024, 11, 3), 25),
    ],
)
def test_a_day_is_from_midnight_to_midnight_on_the_wall_clock(
    zone: str, day: tuple[int, int, int], hours: float
) -> None:
    start, end = grid_of(zone).bounds(Level.DAY, milliseconds(*day, 12, zone=zone))
    assert datetime.fromtimestamp(start / 1000, ZoneInfo(zone)).date() == datetime(*day).date()  # noqa: DTZ001 - a date
    assert (end - start) / HOUR_MS == hours


def test_a_day_in_india_begins_at_half_past_six_in_the_evening_of_utc() -> None:
    start, _ = grid_of("Asia/Kolkata").bounds(Level.DAY, milliseconds(2026, 3, 2, zone="UTC"))
    assert datetime.fromtimestamp(start / 1000, UTC) == datetime(2026, 3, 1, 18, 30, tzinfo=UTC)


@given(st.sampled_from(ZONES), MOMENTS, st.sampled_from(COARSEST_FIRST))
def test_each_moment_lies_in_one_bucket_of_each_level_and_these_in_each_other(
    zone: str, moment: int, level: Level
) -> None:
    grid = Grid(zone)
    start, end = grid.bounds(level, moment)
    assert start <= moment < end
    assert grid.bounds(level, start) == grid.bounds(level, end - 1) == (start, end)
    for coarser in COARSEST_FIRST[: COARSEST_FIRST.index(level)]:
        outer_start, outer_end = grid.bounds(coarser, moment)
        assert outer_start <= start < end <= outer_end


@given(st.sampled_from(ZONES), MOMENTS, st.integers(1, 120 * 24), st.sampled_from(COARSEST_FIRST))
def test_a_cover_leaves_nothing_out_and_nothing_twice(
    zone: str, start: int, hours: int, coarsest: Level
) -> None:
    grid = Grid(zone)
    end = start + hours * HOUR_MS + 1
    spans = list(cover(grid, start, end, coarsest))
    assert (spans[0][1], spans[-1][2]) == (start, end)
    assert all(earlier[2] == later[1] for earlier, later in pairwise(spans))
    for level, first, last in spans:
        if level is None:
            assert last - first < 2 * HOUR_MS
        else:
            assert (grid.floor(level, first), grid.floor(level, last)) == (first, last)
    assert len(spans) <= 7


@given(st.sampled_from(ZONES), MOMENTS)
def test_the_hours_of_a_month_are_those_that_its_moments_lie_in(zone: str, moment: int) -> None:
    grid = Grid(zone)
    month, month_end = grid.bounds(Level.MONTH, moment)
    starts = list(grid.starts(Level.HOUR, month, month_end))
    assert [grid.bounds(Level.HOUR, start)[1] for start in starts] == [*starts[1:], month_end]


def test_months_are_those_of_the_calendar() -> None:
    grid = grid_of("America/Denver")
    first = milliseconds(2025, 12, 1, zone="America/Denver")
    until = first + timedelta(days=120) // timedelta(milliseconds=1)
    starts = [
        datetime.fromtimestamp(start / 1000, ZoneInfo("America/Denver"))
        for start in grid.starts(Level.MONTH, first, until)
    ]
    assert [(start.month, start.day, start.hour) for start in starts] == [
        (12, 1, 0),
        (1, 1, 0),
        (2, 1, 0),
        (3, 1, 0),
    ]
