from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_probe.engine.estimate import (
    Sample,
    jitter_ms,
    latency_ms,
    ramp_s,
    settled,
    stalled,
    throughput_mbps,
)

MEGABIT_BYTES = 125_000


def at_rates(*mbps: float, every_s: float = 0.1) -> list[Sample]:
    """Samples of a line that ran at each of these rates for *every_s* seconds."""
    moved = accumulate((rate * MEGABIT_BYTES * every_s for rate in mbps), initial=0.0)
    return [Sample(number * every_s, int(total)) for number, total in enumerate(moved)]


def test_slow_start_is_left_out() -> None:
    assert throughput_mbps(at_rates(*[1] * 10, *[100] * 70)) == pytest.approx(100, rel=1e-3)


def test_the_ramp_of_a_short_window_is_a_quarter_of_it() -> None:
    assert ramp_s(8) == 1
    assert ramp_s(2) == 0.5


@given(st.floats(0.5, 10_000), st.integers(20, 100))
def test_a_steady_rate_is_read_as_it_is(rate_mbps: float, windows: int) -> None:
    samples = at_rates(*[rate_mbps] * windows)
    assert throughput_mbps(samples) == pytest.approx(rate_mbps, rel=1e-2)


@given(st.lists(st.sampled_from([0.0, 400.0]), min_size=40, max_size=80))
def test_bursts_never_read_above_the_line(rates: list[float]) -> None:
    mbps = throughput_mbps(at_rates(*rates))
    assert mbps is None or 0 < mbps <= 400.001


@pytest.mark.parametrize("samples", [[], [Sample(0, 0)], at_rates(*[0] * 30)])
def test_nothing_moved_is_no_figure(samples: list[Sample]) -> None:
    assert throughput_mbps(samples) is None


def test_a_steady_rate_settles_after_four_seconds() -> None:
    assert not settled(at_rates(*[100] * 39))
    assert settled(at_rates(*[100] * 50))


def test_a_rate_that_still_moves_has_not_settled() -> None:
    assert not settled(at_rates(*range(1, 60)))


def test_a_burst_behind_the_ramp_is_measured_away() -> None:
    """Half a megabyte that was held up by slow start's losses and came at once."""
    burst = [*[95] * 10, 135, *[95] * 30]
    assert not settled(at_rates(*burst))
    samples = at_rates(*burst, *[95] * 40)
    assert throughput_mbps(samples) == pytest.approx(95, rel=0.0075)


def test_a_line_that_went_dead_has_stalled_and_not_settled() -> None:
    samples = at_rates(*[100] * 10, *[0] * 50)
    assert stalled(samples, 4)
    assert not settled(samples)
    assert not stalled(at_rates(*[100] * 10, *[0] * 20), 4)


def test_one_late_answer_does_not_make_the_latency() -> None:
    assert latency_ms([10, 11, 10, 500, 11]) == 11
    assert latency_ms([]) is None


def test_jitter_is_the_mean_difference_of_neighbours() -> None:
    assert jitter_ms([10, 12, 10, 10]) == pytest.approx(4 / 3)
    assert jitter_ms([10]) is None
