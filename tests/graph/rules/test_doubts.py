"""The machine and its link can excuse a bad figure, and never spoil a good one."""

from collections.abc import Sequence
from typing import Any

import pytest
from speedtrap_graph.rules.doubts import apart
from speedtrap_graph.rules.judgement import broken, judge, observation
from speedtrap_graph.rules.model import (
    DEFAULT_RULE,
    Medium,
    Metric,
    Outcome,
    Plan,
    Rule,
    RunFacts,
)

from tests.graph.rules.builders import a_plan, a_reading, a_run

PLAN = a_plan()
HALF = PLAN.download_mbps / 2
DOUBTS: list[tuple[dict[str, Any], str]] = [
    ({"vpn": True}, "VPN"),
    ({"cpu_percent": 97.0}, "97 % busy"),
    ({"link_mbps": HALF, "medium": Medium.WIRED}, "link was the bottleneck"),
    ({"link_mbps": HALF * 1.5, "medium": Medium.WIFI}, "Wi-Fi link was the bottleneck"),
]


@pytest.mark.parametrize(("seen", "said"), DOUBTS)
def test_a_bad_figure_is_excused(seen: dict[str, Any], said: str) -> None:
    run = a_run(a_reading("ookla", HALF * 0.8))._replace(**seen)
    found = judge(run, PLAN, [DEFAULT_RULE])
    assert found.outcome is Outcome.INCONCLUSIVE
    assert said in found.reason


@pytest.mark.parametrize(("seen", "said"), DOUBTS)
def test_a_good_figure_counts_all_the_same(seen: dict[str, Any], said: str) -> None:
    run = a_run(a_reading("ookla", HALF))._replace(**seen)
    found = judge(run, PLAN, [DEFAULT_RULE])
    assert found.outcome is Outcome.MEASURED
    assert said in found.reason


@pytest.mark.parametrize(
    "seen",
    [
        {"vpn": False, "cpu_percent": 60.0},
        {"link_mbps": HALF * 1.1},
        {"link_mbps": HALF * 2.1, "medium": Medium.WIFI},
    ],
)
def test_an_able_machine_excuses_nothing(seen: dict[str, Any]) -> None:
    run = a_run(a_reading("ookla", HALF * 0.8))._replace(**seen)
    assert judge(run, PLAN, [DEFAULT_RULE]).outcome is Outcome.MEASURED


@pytest.mark.parametrize(("seen", "said"), DOUBTS)
def test_where_nothing_was_promised_nothing_is_excused(seen: dict[str, Any], said: str) -> None:
    run = a_run(a_reading("ookla", HALF * 0.4))._replace(**seen)
    found = judge(run, None, [DEFAULT_RULE])
    assert found.outcome is Outcome.MEASURED
    assert said not in found.reason


def test_a_link_of_ten_gigabits_is_written_in_full() -> None:
    plan = a_plan(download_mbps=25_000)
    run = a_run(a_reading(download=8_000))._replace(link_mbps=10_000)
    assert judge(run, plan, [DEFAULT_RULE]).reason == (
        "The probe's network link was the bottleneck: at 10000 Mbps it carries 9500,"
        " where the rule asks for 12500."
    )


STRICT = Rule(below_ratio=0.9, name="strict")
UPLOAD = Rule(metric=Metric.UPLOAD, below_ratio=0.5)
LATENCY = Rule(metric=Metric.LATENCY, above_ms=80)
WIRE_OF_A_TENTH_LESS = {"link_mbps": 850.0}


def verdict(run: RunFacts, rule: Rule, rules: Sequence[Rule], plan: Plan = PLAN) -> bool | None:
    return broken(observation(run, judge(run, plan, rules), plan, rule), rule)


@pytest.mark.parametrize(
    "why",
    [{"cross_traffic_mbps": 300.0}, {"cpu_percent": 95.0}, {"cpu_wait_percent": 20.0},
     {"vpn": True}, WIRE_OF_A_TENTH_LESS, {"lan": 700.0}],
)  # fmt: skip
@pytest.mark.parametrize("rules", [[DEFAULT_RULE, STRICT], [STRICT, DEFAULT_RULE]])
def test_what_explains_a_figure_is_weighed_against_each_rules_own_bound(
    why: dict[str, Any], rules: list[Rule]
) -> None:
    lan = [a_reading("lan", why["lan"])] if "lan" in why else []
    conditions = {name: value for name, value in why.items() if name != "lan"}
    run = a_run(a_reading("ookla", 600), *lan)._replace(**conditions)
    assert verdict(run, DEFAULT_RULE, rules) is False
    assert verdict(run, STRICT, rules) is None
    assert judge(run, PLAN, rules).outcome is Outcome.MEASURED


def test_a_bottleneck_that_leaves_room_for_a_rule_excuses_nothing_to_it() -> None:
    run = a_run(a_reading("ookla", 300), a_reading("lan", 700))
    assert verdict(run, DEFAULT_RULE, [DEFAULT_RULE, STRICT]) is True
    assert verdict(run, STRICT, [DEFAULT_RULE, STRICT]) is None
    assert judge(run, PLAN, [DEFAULT_RULE, STRICT]).reason == (
        "For a stricter rule this says nothing. The local network was the bottleneck: download 700,"
        " where the rule asks for 846."
    )


def test_a_good_figure_of_any_metric_counts_beside_a_doubtful_one() -> None:
    rules = [DEFAULT_RULE, UPLOAD, LATENCY]
    run = a_run(a_reading("ookla", 100, upload=39, latency=12))._replace(cross_traffic_mbps=300.0)
    assert [verdict(run, rule, rules) for rule in rules] == [None, False, False]
    found = judge(run, PLAN, rules)
    assert found.outcome is Outcome.MEASURED
    assert found.best == {Metric.UPLOAD: 39, Metric.LATENCY: 12}
    assert found.reason.endswith("What still counts: upload, latency.")


def test_a_bad_figure_of_any_metric_is_excused_beside_a_good_one() -> None:
    rules = [DEFAULT_RULE, UPLOAD, LATENCY]
    run = a_run(a_reading("ookla", 800, upload=2, latency=900))._replace(cross_traffic_mbps=300.0)
    assert [verdict(run, rule, rules) for rule in rules] == [False, None, None]


def test_a_rule_for_one_tool_hears_its_good_figure_beside_a_doubtful_best() -> None:
    of_fast = Rule(below_mbps=50, name="fast", tool="fast")
    run = a_run(a_reading("fast", 60), a_reading("ookla", 100))._replace(vpn=True)
    assert verdict(run, of_fast, [DEFAULT_RULE, of_fast]) is False
    slower = a_run(a_reading("fast", 40), a_reading("ookla", 100))._replace(vpn=True)
    assert verdict(slower, of_fast, [DEFAULT_RULE, of_fast]) is None


@pytest.mark.parametrize(
    ("down", "up", "is_excused"),
    [(0.1, 9.5, True), (0.1, 1.0, False), (10.0, 0.1, False), (10.1, 0.1, True), (None, 1.1, True)],
)
def test_each_direction_of_other_traffic_is_held_against_its_own_purchase(
    down: float | None, up: float, is_excused: bool
) -> None:
    plan = a_plan(download_mbps=100, upload_mbps=10)
    run = a_run(a_reading("ookla", 35.6))._replace(
        cross_traffic_mbps=9.6, cross_traffic_down_mbps=down, cross_traffic_up_mbps=up
    )
    assert verdict(run, DEFAULT_RULE, [DEFAULT_RULE], plan) is (None if is_excused else True)


def test_a_link_of_unknown_kind_may_be_wifi() -> None:
    run = a_run(a_reading("ookla", 100))._replace(link_mbps=HALF * 1.5, medium=Medium.UNKNOWN)
    assert verdict(run, DEFAULT_RULE, [DEFAULT_RULE]) is None


def test_a_tool_above_the_rate_of_its_wire_has_no_figures_and_the_others_stand() -> None:
    run = a_run(a_reading("ookla", 650, latency=1), a_reading("fast", 80, latency=20))
    found = judge(run._replace(link_mbps=100.0), PLAN, [])
    assert found.best == {Metric.DOWNLOAD: 80, Metric.LATENCY: 20}
    assert found.reason == "Measured by fast."
    over_wifi = run._replace(link_mbps=100.0, medium=Medium.WIFI)
    assert judge(over_wifi, PLAN, []).best[Metric.DOWNLOAD] == 650


@pytest.mark.parametrize(
    ("value", "other", "said"),
    [
        (62, 90, ("62", "90")),
        (74.998, 75, ("74.998", "75")),
        (9999.96, 10_000, ("9999.96", "10000")),
        (0.30000000000000004, 0.3, ("0.30000000000000004", "0.3")),
    ],
)
def test_a_reason_shows_enough_digits_to_differ(
    value: float, other: float, said: tuple[str, str]
) -> None:
    assert apart(value, other) == said
