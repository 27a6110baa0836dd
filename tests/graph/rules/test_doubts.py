"""The machine and its link can excuse a bad figure, and never spoil a good one."""

from typing import Any

import pytest
from speedtrap_graph.rules.judgement import judge
from speedtrap_graph.rules.model import DEFAULT_RULE, Medium, Outcome

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
