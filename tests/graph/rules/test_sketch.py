"""Sketches against the exact percentiles, on samples that tempt them."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.percentiles import median, percentile
from speedtrap_graph.rules.sketch import KEPT_VALUES, Sketch

SHARES = (0.0, 0.01, 0.1, 0.2, 0.5, 0.9, 0.99, 1.0)
FIGURES = st.floats(min_value=1e-6, max_value=1e6)


def heavy_tailed(draw: random.Random) -> float:
    return draw.paretovariate(0.8)


def constant(_: random.Random) -> float:
    return 938.271


def bimodal(draw: random.Random) -> float:
    return draw.gauss(940, 3) if draw.random() < 0.5 else draw.gauss(12, 1)


def often_zero(draw: random.Random) -> float:
    return 0.0 if draw.random() < 0.7 else draw.random() / 100


def packed(sketch: Sketch) -> Sketch:
    return Sketch.unpack(sketch.pack())


@pytest.mark.parametrize("of_kind", [heavy_tailed, constant, bimodal, often_zero])
@pytest.mark.parametrize("size", [1, 2, 5, KEPT_VALUES, KEPT_VALUES + 1, 100, 10_000])
def test_percentiles_are_within_one_percent_of_the_exact_ones(
    of_kind: Callable[[random.Random], float], size: int
) -> None:
    draw = random.Random(size)
    values = [of_kind(draw) for _ in range(size)]
    sketch = packed(Sketch(values))
    for share, found in zip(SHARES, sketch.percentiles(*SHARES), strict=True):
        assert found == pytest.approx(percentile(values, share), rel=0.01)
    assert (sketch.n, sketch.least, sketch.greatest) == (size, min(values), max(values))


@given(st.lists(FIGURES, min_size=1, max_size=KEPT_VALUES))
def test_of_few_every_percentile_is_exact(values: list[float]) -> None:
    sketch = packed(Sketch(values))
    assert sketch.percentile(0.5) == median(values)
    assert sketch.percentiles(*SHARES) == [percentile(values, share) for share in SHARES]


@given(st.lists(FIGURES, min_size=1, max_size=200), st.sampled_from(SHARES))
def test_of_many_every_percentile_is_within_one_percent(values: list[float], share: float) -> None:
    exact = percentile(values, share)
    assert packed(Sketch(values)).percentile(share) == pytest.approx(exact, rel=0.01)


@given(st.data(), st.lists(FIGURES, max_size=150))
def test_no_split_order_or_packing_on_the_way_changes_the_packed_bytes(
    data: st.DataObject, values: list[float]
) -> None:
    shuffled = data.draw(st.permutations(values))
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=6))
    whole = Sketch()
    for start, end in pairwise(sorted({0, *cuts, len(values)})):
        part = Sketch(shuffled[start:end])
        whole.merge(packed(part) if data.draw(st.booleans()) else part)
        if data.draw(st.booleans()):
            whole = packed(whole)
    assert whole.pack() == Sketch(values).pack()
    assert whole == Sketch(values)


def test_an_empty_sketch_has_no_figures() -> None:
    empty = packed(Sketch())
    assert (empty.n, empty.least, empty.greatest, empty.percentile(0.5)) == (0, None, None, None)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300])
def test_what_lies_far_out_is_answered_from_the_ends(value: float) -> None:
    assert packed(Sketch([value] * 50)).percentile(0.5) == value
