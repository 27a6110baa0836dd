"""Outages, streaks and pace of runs in a row, and of stretches joined together."""

from collections.abc import Sequence
from dataclasses import astuple
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.percentiles import MEDIAN
from speedtrap_graph.rules.sketch import KEPT_VALUES, Sketch
from speedtrap_graph.rules.stretch import SILENCE_GAPS, Stretch, joined

HOUR_MS = 3_600_000
OUTCOMES = {"g": "MEASURED", "b": "MEASURED", "-": "MEASURED", "o": "OUTAGE", "i": "INCONCLUSIVE"}
VERDICTS = {"g": False, "b": True, "o": True, "-": None, "i": None}

Timed = tuple[str, int]
"""A letter as in `a_line`, and the milliseconds since the run before."""

TIMED = st.lists(
    st.tuples(st.sampled_from("gboi-"), st.sampled_from([1, HOUR_MS, 4 * HOUR_MS, 90 * HOUR_MS])),
    max_size=60,
)


def a_stretch(runs: Sequence[Timed], start_ms: int = 0) -> Stretch:
    stretch = Stretch()
    for letter, gap_ms in runs:
        start_ms += gap_ms
        stretch.take(start_ms, start_ms + 60_000, OUTCOMES[letter], VERDICTS[letter])
    return stretch


def at_hours(letters: str) -> Stretch:
    """One place an hour; a dot is an hour without a run."""
    stretch = Stretch()
    for hour, letter in enumerate(letters):
        if letter != ".":
            start_ms = hour * HOUR_MS
            stretch.take(start_ms, start_ms + 60_000, OUTCOMES[letter], VERDICTS[letter])
    return stretch


@pytest.mark.parametrize(
    ("letters", "count", "hours"),
    [
        ("ggoog", 1, 2),
        ("ggo..g", 1, 3),
        ("ggo...g", 1, 1 / 60),
        ("ggoo...gg", 1, 1 + 1 / 60),
        ("ggo...og", 2, 1 + 1 / 60),
        ("ggo..og", 1, 4),
        ("ggo" + 72 * "." + "ggg", 1, 1 / 60),
        ("ggoo", 1, 1 + 1 / 60),
        ("goigog", 2, 2),
    ],
)
def test_an_outage_ends_where_a_silence_of_more_than_three_usual_intervals_begins(
    letters: str, count: int, hours: float
) -> None:
    found = at_hours(letters).outages_in_spans()
    assert found[0] == count
    assert found[1] == pytest.approx(hours * 3600)


def test_a_line_asleep_for_three_days_had_no_outage_of_three_days() -> None:
    asleep = 72 * "."
    awake = "gggggggggo"
    assert at_hours((awake + asleep) * 5).outages_in_spans() == (5, 5 * 60)


def test_one_run_that_was_an_outage_lasted_as_long_as_the_run() -> None:
    assert at_hours("o").outages_in_spans() == (1, 60)


@given(TIMED)
def test_outages_agree_with_reading_the_runs_one_by_one(runs: list[Timed]) -> None:
    assert a_stretch(runs).outages_in_spans() == one_by_one(runs)


def one_by_one(runs: Sequence[Timed]) -> tuple[int, float]:
    starts: list[int] = []
    for _, gap_ms in runs:
        starts.append((starts[-1] if starts else 0) + gap_ms)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    longest = SILENCE_GAPS * median(gaps) if gaps else 0
    count, duration_ms, under_way = 0, 0, False
    for place, (letter, _) in enumerate(runs):
        if letter != "o":
            under_way = False
            continue
        count += not under_way
        gap = gaps[place] if place < len(gaps) else None
        under_way = gap is not None and gap <= longest
        duration_ms += gap if gap is not None and under_way else 60_000
    return count, duration_ms / 1000


@given(TIMED, st.lists(st.integers(0, 60), max_size=5))
def test_stretches_joined_are_the_stretch_of_all_their_runs(
    runs: list[Timed], cuts: list[int]
) -> None:
    parts, start_ms = [], 0
    for start, end in pairwise(sorted({0, *(min(cut, len(runs)) for cut in cuts), len(runs)})):
        parts.append(a_stretch(runs[start:end], start_ms))
        start_ms += sum(gap for _, gap in runs[start:end])
    whole = joined(parts)
    expected = a_stretch(runs)
    assert whole.outages_in_spans() == expected.outages_in_spans()
    assert whole.outage_gaps.in_order() == expected.outage_gaps.in_order()
    assert astuple(whole)[:-1] == astuple(expected)[:-1]


NEAR_THREE = st.sampled_from([1, 3, 2.985, 2.995, 3.005, 3.015, 12])
"""In usual intervals: where a sketch's half a percent decides, and where it does not."""


@given(st.lists(st.tuples(st.sampled_from("ggo"), NEAR_THREE), min_size=1, max_size=60))
def test_outages_put_together_from_packed_days_are_those_of_the_runs(
    runs: list[tuple[str, float]],
) -> None:
    day = [("g", HOUR_MS + minute * 1000) for minute in range(KEPT_VALUES * 2)]
    timed = [*day, *((letter, round(HOUR_MS * gap)) for letter, gap in runs), *day]
    parts, start_ms = [], 0
    for start in range(0, len(timed), KEPT_VALUES + 1):
        part = a_stretch(timed[start : start + KEPT_VALUES + 1], start_ms)
        start_ms += sum(gap for _, gap in timed[start : start + KEPT_VALUES + 1])
        part.intervals = Sketch.unpack(part.intervals.pack())
        parts.append(part)
    whole, expected = joined(parts), a_stretch(timed)
    whole.intervals.settle()
    usual_ms = expected.intervals.percentile(MEDIAN) if whole.is_unsure_of_outages() else None
    assert whole.outages_in_spans(usual_ms) == expected.outages_in_spans()
