"""Every figure of a letter is about the breach's metric, tool and runs, and says so."""

from datetime import timedelta
from typing import Any

import pytest
from speedtrap_bots.letter import letter, note
from speedtrap_bots.letter.evidence import gather
from speedtrap_bots.letter.pack import pack_data
from speedtrap_bots.model import (
    Breach,
    Conditions,
    Figure,
    Observation,
    Rule,
    Run,
    ServiceReport,
    Stage,
)

from tests.bots.builders import NOON, a_breach, a_measurement, a_run

REPORT = ServiceReport(
    since=NOON - timedelta(days=30), until=NOON, n=100, median_mbps=777.7, median_ratio=0.83,
    consistent_mbps=666.6, peak=Figure(median=555.5, n=20),
)  # fmt: skip
UPLOAD = Rule(metric="UPLOAD", below_ratio=0.8)
LATENCY = Rule(metric="LATENCY", above_ms=10)
LOSS = Rule(metric="PACKET_LOSS", above_ratio=0.02)
BY_OOKLA = Rule(below_ratio=0.5, tool="ookla")


def whole_letter(breach: Breach, stage: Stage = Stage.OPENING) -> str:
    content = letter(breach, stage, sender="Jane", contact="jane@home.example")
    pack = pack_data(breach)
    return " ".join(f"{content.text} {content.html} {pack['figures']} {pack['e']}".split())


def beside(run: Run, **traffic: Any) -> Run:
    return run.model_copy(update={"conditions": Conditions(medium="WIRED", **traffic)})


def test_own_traffic_is_that_of_the_runs_that_broke_the_rule_and_not_of_an_unjudged_one() -> None:
    slow = tuple(beside(a_run(n, 110), cross_traffic_mbps=n / 10) for n in range(6))
    busy = beside(a_run(2, 95, outcome="INCONCLUSIVE"), cross_traffic_mbps=180.0)
    busy = busy.model_copy(update={"id": "busy", "started_at": NOON + timedelta(hours=2.5)})
    breach = a_breach(runs=(*slow[:3], busy, *slow[3:]), window=(*slow[:3], busy, *slow[3:]))
    said = " ".join(gather(breach).method)
    assert "at most 0.5 Mbps in 6 of the 6 that broke the rule" in said
    assert "180" not in whole_letter(breach)


def test_own_traffic_is_told_down_and_up_where_the_probe_tells_them_apart() -> None:
    traffic = {"cross_traffic_down_mbps": 0.4, "cross_traffic_up_mbps": 3.1}
    slow = tuple(beside(a_run(n, 110), **traffic) for n in range(6))
    said = " ".join(gather(a_breach(runs=slow, window=slow)).method)
    assert "at most 0.4 Mbps down and 3.1 Mbps up in 6 of the 6" in said


@pytest.mark.parametrize("rule", [UPLOAD, LATENCY, LOSS, BY_OOKLA])
def test_the_month_of_the_download_by_all_tools_stands_in_no_other_letter(rule: Rule) -> None:
    said = whole_letter(a_breach(report=REPORT, rule=rule))
    assert not any(figure in said for figure in ("777.7", "666.6", "555.5"))


def test_in_a_letter_about_the_download_the_month_says_what_it_is_of() -> None:
    said = whole_letter(a_breach(report=REPORT))
    assert said.count("The line's download in the month up to then") == 2
    assert "777.7 Mbps (83 %)" in said


def test_a_letter_about_one_tool_speaks_of_that_one_only() -> None:
    runs = tuple(
        a_run(n, 500, measurements=(a_measurement("ookla", 110), a_measurement("ndt7", 901.5)))
        for n in range(6)
    )
    without = a_run(7, 902.5, measurements=[a_measurement("ndt7", 902.5)])
    breach = a_breach(rule=BY_OOKLA, runs=runs, window=(*runs, without))
    said = whole_letter(breach)
    assert "Each run counts with what ookla gave" in said
    for words in ("best of", "ndt7", "901.5", "902.5"):
        assert words not in said
    evidence = gather(breach)
    assert (evidence.window_count, evidence.breach_median) == (6, "110.0 Mbps")
    assert [tool.tool for tool in evidence.tools] == ["ookla"]


def test_figures_are_those_that_the_breachs_own_rule_heard() -> None:
    """A run may be doubted by the main rule and count for a milder one, or the other way round."""
    runs = tuple(a_run(n, None) for n in range(6))
    heard = tuple(
        Observation(run=run.id, value=200.0 + n, broken=True, in_breach=True)
        for n, run in enumerate(runs)
    )
    doubted = a_run(-1, 111.5)
    breach = a_breach(
        runs=runs,
        window=(doubted, *runs),
        observations=(Observation(run=doubted.id, value=None, broken=None), *heard),
    )
    evidence = gather(breach)
    assert evidence.breach_median == "202.5 Mbps"
    assert [row.figure for row in evidence.rows][:2] == ["200.0 Mbps", "201.0 Mbps"]
    assert evidence.window[0].figure == "not judged"
    assert (evidence.window_count, evidence.judged_count, evidence.good_count) == (7, 6, 0)


def a_recovery(mbps: float) -> Breach:
    breach = a_breach()
    good = a_run(7, mbps)
    return a_breach(status="RESOLVED", resolved_at=good.started_at, window=(*breach.window, good))


def test_a_recovery_to_less_than_was_bought_says_so_and_asks_for_nothing_less() -> None:
    breach = a_recovery(470)
    words = "The line is not yet what was bought: 470.0 Mbps since then, 50 % of the subscribed 940"
    said = whole_letter(breach, Stage.RECOVERY)
    assert said.count(words) >= 2
    assert words in " ".join(note(breach, Stage.RECOVERY).text.split())
    assert "nothing more is needed" not in said
    assert "is back" not in note(breach, Stage.RECOVERY).subject


def test_a_recovery_to_what_was_bought_says_since_when() -> None:
    said = whole_letter(a_recovery(930), Stage.RECOVERY)
    assert "not yet" not in said
    assert "at or above 470.0 Mbps again since 2026-11-24 19:00 MST" in said
