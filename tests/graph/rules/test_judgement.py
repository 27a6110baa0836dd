"""What one run says: about the line, and to one rule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.judgement import broken, judge, observation
from speedtrap_graph.rules.model import DEFAULT_RULE, FailureKind, Metric, Outcome, Rule, RunFacts
from speedtrap_graph.rules.plans import threshold

from tests.graph.rules.builders import a_failure, a_plan, a_reading, a_run, an_observation

PLAN = a_plan(download_mbps=940, upload_mbps=40)


def outcome_of(run: RunFacts) -> Outcome:
    return judge(run, PLAN, [DEFAULT_RULE]).outcome


def test_one_internet_tool_with_a_figure_makes_a_run_measured() -> None:
    judgement = judge(a_run(a_failure("fast"), a_reading("ookla", 512)), PLAN, [DEFAULT_RULE])
    assert judgement.outcome is Outcome.MEASURED
    assert judgement.reason == "Measured by ookla."


def test_the_best_internet_tool_speaks_for_the_run() -> None:
    run = a_run(
        a_reading("fast", 90, latency=30, jitter=0, packet_loss=0.01),
        a_reading("ookla", 512, latency=12, jitter=2, packet_loss=0),
        a_reading("lan", 2000, latency=1),
    )
    assert judge(run, PLAN, [DEFAULT_RULE]).best == {
        Metric.DOWNLOAD: 512,
        Metric.LATENCY: 12,
        Metric.JITTER: 0,
        Metric.PACKET_LOSS: 0,
    }


def test_a_line_that_is_down_is_an_outage() -> None:
    judgement = judge(a_run(a_failure("ookla"), line_up=False), PLAN, [DEFAULT_RULE])
    assert judgement.outcome is Outcome.OUTAGE
    assert judgement.best == {}
    assert judgement.reason == (
        "No internet tool measured anything (ookla: no network), and the connectivity check failed."
    )


def test_a_fast_local_network_does_not_hide_an_outage() -> None:
    run = a_run(a_failure("ookla"), a_reading("lan", 2000), line_up=False)
    assert outcome_of(run) is Outcome.OUTAGE


def test_a_tool_that_got_through_outweighs_a_failed_connectivity_check() -> None:
    assert outcome_of(a_run(a_reading("ookla", 512), line_up=False)) is Outcome.MEASURED


@pytest.mark.parametrize("line_up", [True, None])
@pytest.mark.parametrize("kind", FailureKind)
def test_failed_tools_on_a_line_that_is_not_known_to_be_down_say_nothing(
    line_up: bool | None, kind: FailureKind
) -> None:
    run = a_run(a_failure("ookla", kind), a_reading("lan", 2000), line_up=line_up)
    assert outcome_of(run) is Outcome.INCONCLUSIVE


def test_a_run_of_local_tools_only_says_nothing_about_the_line() -> None:
    judgement = judge(a_run(a_reading("lan", 2000)), PLAN, [DEFAULT_RULE])
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.reason.startswith("No internet tool took part")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_throughput_that_cannot_be_is_no_figure(value: float) -> None:
    assert outcome_of(a_run(a_reading("ookla", value))) is Outcome.INCONCLUSIVE


def test_a_slow_figure_on_a_busy_line_is_inconclusive() -> None:
    run = a_run(a_reading("ookla", 100), cross_traffic_mbps=95)
    judgement = judge(run, PLAN, [DEFAULT_RULE])
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.best == {}
    assert "95 Mbps, and at most 94 are allowed" in judgement.reason


def test_a_tenth_of_the_subscribed_speed_in_other_traffic_is_noise() -> None:
    run = a_run(a_reading("ookla", 100), cross_traffic_mbps=94)
    assert outcome_of(run) is Outcome.MEASURED


def test_a_good_figure_stays_good_on_a_busy_line() -> None:
    run = a_run(a_reading("ookla", 470), cross_traffic_mbps=300)
    judgement = judge(run, PLAN, [DEFAULT_RULE])
    assert judgement.outcome is Outcome.MEASURED
    assert judgement.best == {Metric.DOWNLOAD: 470}


def test_a_busy_line_gives_no_evidence_on_other_metrics() -> None:
    run = a_run(a_reading("ookla", 600, upload=1, latency=900), cross_traffic_mbps=300)
    judgement = judge(run, PLAN, [DEFAULT_RULE])
    slow_upload = Rule(metric=Metric.UPLOAD, below_ratio=0.5)
    assert broken(observation(run, judgement, PLAN, slow_upload), slow_upload) is None


def test_without_a_plan_other_traffic_is_held_against_the_measured_speed() -> None:
    noisy = a_run(a_reading("ookla", 100), cross_traffic_mbps=11)
    quiet = a_run(a_reading("ookla", 100), cross_traffic_mbps=9)
    assert judge(noisy, None, [DEFAULT_RULE]).outcome is Outcome.INCONCLUSIVE
    assert judge(quiet, None, [DEFAULT_RULE]).outcome is Outcome.MEASURED


def test_what_samknows_calls_idle_never_spoils_a_slow_line() -> None:
    run = a_run(a_reading("ookla", 0.3), cross_traffic_mbps=0.2)
    assert judge(run, a_plan(download_mbps=1), [DEFAULT_RULE]).outcome is Outcome.MEASURED


def test_a_local_network_below_the_threshold_excuses_a_slow_figure() -> None:
    judgement = judge(
        a_run(a_reading("ookla", 90), a_reading("lan", 100)),
        PLAN,
        [DEFAULT_RULE],
    )
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.reason == (
        "The local network was the bottleneck: download 100, where the rule asks for 470."
    )


def test_a_local_network_at_the_threshold_excuses_nothing() -> None:
    assert outcome_of(a_run(a_reading("ookla", 90), a_reading("lan", 470))) is Outcome.MEASURED


def test_a_good_figure_stays_good_over_a_slow_local_network() -> None:
    assert outcome_of(a_run(a_reading("ookla", 500), a_reading("lan", 100))) is Outcome.MEASURED


def test_without_a_plan_no_local_network_is_too_slow() -> None:
    run = a_run(a_reading("ookla", 90), a_reading("lan", 10))
    assert judge(run, None, [DEFAULT_RULE]).outcome is Outcome.MEASURED


@given(st.floats(470, 2000), st.none() | st.floats(0, 2000), st.none() | st.floats(0, 2000))
def test_nothing_makes_a_figure_doubtful_that_kept_the_rule(
    download: float, cross_traffic: float | None, lan: float | None
) -> None:
    run = a_run(
        a_reading("ookla", download), a_reading("lan", lan), cross_traffic_mbps=cross_traffic
    )
    judgement = judge(run, PLAN, [DEFAULT_RULE])
    seen = observation(run, judgement, PLAN, DEFAULT_RULE)
    assert seen.value == download
    assert broken(seen, DEFAULT_RULE) is False


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (DEFAULT_RULE, 470),
        (Rule(metric=Metric.UPLOAD, below_ratio=0.25), 10),
        (Rule(metric=Metric.LATENCY, below_ratio=0.5), None),
        (Rule(metric=Metric.DOWNLOAD, below_mbps=50), 50),
        (Rule(metric=Metric.LATENCY, above_ms=80), 80),
        (Rule(metric=Metric.PACKET_LOSS, above_ratio=0.0), 0),
        (Rule(), None),
    ],
)
def test_the_threshold_is_in_the_unit_of_the_metric(rule: Rule, expected: float | None) -> None:
    assert threshold(rule, PLAN) == expected


def test_there_is_no_threshold_without_a_promise() -> None:
    assert threshold(DEFAULT_RULE, None) is None
    assert threshold(Rule(below_mbps=50), None) is None
    upload = Rule(metric=Metric.UPLOAD, below_ratio=0.5)
    assert threshold(upload, a_plan(upload_mbps=None)) is None


def test_a_figure_at_the_threshold_keeps_the_rule() -> None:
    latency = Rule(metric=Metric.LATENCY, above_ms=80)
    assert broken(an_observation(470, threshold=470), DEFAULT_RULE) is False
    assert broken(an_observation(469.9, threshold=470), DEFAULT_RULE) is True
    assert broken(an_observation(80, threshold=80), latency) is False
    assert broken(an_observation(80.1, threshold=80), latency) is True


@pytest.mark.parametrize("metric", Metric)
def test_an_outage_breaks_every_rule(metric: Metric) -> None:
    outage = an_observation(outcome=Outcome.OUTAGE, threshold=1)
    assert broken(outage, Rule(metric=metric)) is True


def test_an_outage_breaks_no_promise_that_nobody_made() -> None:
    assert broken(an_observation(outcome=Outcome.OUTAGE, threshold=None), DEFAULT_RULE) is None


def test_an_inconclusive_run_says_nothing_to_a_rule() -> None:
    assert broken(an_observation(100, outcome=Outcome.INCONCLUSIVE), DEFAULT_RULE) is None


def test_a_run_without_the_metric_says_nothing_to_its_rule() -> None:
    assert broken(an_observation(None), DEFAULT_RULE) is None
