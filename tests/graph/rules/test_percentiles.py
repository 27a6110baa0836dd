"""Percentiles as defined: known figures, and the standard library's own as a reference."""

from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.percentiles import median, percentile

FIGURES = st.lists(st.floats(0.001, 10_000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("share", "expected"), [(0, 10), (0.2, 18), (0.25, 20), (0.5, 30), (0.9, 46), (1, 50)]
)
def test_between_two_values_a_percentile_moves_in_a_straight_line(
    share: float, expected: float
) -> None:
    assert percentile([50, 10, 40, 20, 30], share) == pytest.approx(expected)


def test_the_median_of_an_even_sample_is_halfway_between_the_middle_two() -> None:
    assert median([4, 1, 3, 2]) == 2.5


def test_halfway_is_right_to_the_last_digit() -> None:
    values = [116.73, 147.84]
    assert median(values) == sum(values) / 2
    assert median([*values, 1.0, 900.0]) == sum(values) / 2


def test_an_empty_sample_has_no_percentile() -> None:
    assert percentile([], 0.5) is None
    assert median([]) is None


@given(st.floats(0.001, 10_000), st.floats(0, 1))
def test_every_percentile_of_one_value_is_that_value(value: float, share: float) -> None:
    assert percentile([value], share) == value


@given(st.lists(st.floats(0.001, 10_000), min_size=2, max_size=60))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    expected = quantiles(values, n=20, method="inclusive")
    ours = [percentile(values, number / 20) for number in range(1, 20)]
    assert ours == pytest.approx(expected)


@given(FIGURES, st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_has_no_smaller_percentile(
    values: list[float], one: float, other: float
) -> None:
    lesser, greater = percentile(values, min(one, other)), percentile(values, max(one, other))
    assert lesser is not None
    assert greater is not None
    assert lesser <= greater + 1e-9
    assert min(values) <= lesser
    assert greater <= max(values) + 1e-9
