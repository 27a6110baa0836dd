"""What the page says of an answer: fair with few runs, silent without a plan, gaps left open."""

from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_web.graphql.answers import Rule
from speedtrap_web.pages.notices import by_hand
from speedtrap_web.views.breaches import NOTICE_GLYPHS, breach_line
from speedtrap_web.views.drawings.chart import chart, nice_step
from speedtrap_web.views.drawings.heat import heat_map, weighted_median
from speedtrap_web.views.line.tiles import tiles
from speedtrap_web.views.line.tools import last_run, tool_table
from speedtrap_web.views.line.verdict import verdict

from tests.web.builders import (
    HALF,
    NOW,
    a_breach,
    a_history,
    a_notice,
    a_probe,
    a_report,
    a_report_without_plan,
    a_run,
    an_open_breach,
    words,
)

SPACE = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("code", "tone", "headline"),
    [
        ("DELIVERED", "good", "Yes, you get what you pay for."),
        ("PARTLY", "warn", "Mostly, but not always."),
        ("NOT_DELIVERED", "bad", "No, the line falls short."),
        ("TOO_FEW", "none", "Too early to say."),
    ],
)
def test_the_verdict_is_one_sentence(code: str, tone: str, headline: str) -> None:
    said = verdict(a_probe(), a_report(verdict=code), "the last 30 days", words())
    assert (said.tone, said.headline) == (tone, headline)


def test_slow_evenings_are_named() -> None:
    report = a_report(verdict="NOT_DELIVERED", peak={"median": 520, "n": 20})
    said = verdict(a_probe(), report, "the last 30 days", words())
    assert said.headline == "No, evenings fall short."
    assert f"drops to 520 Mbps, 46{SPACE}% lower" in " ".join(said.sentences)


def test_what_holds_right_now_comes_first() -> None:
    probe = a_probe(open_breach=an_open_breach(), streak=7)
    said = verdict(probe, a_report(verdict="PARTLY"), "the last 30 days", words())
    assert (said.tone, said.headline) == ("bad", "Mostly, but not right now.")
    assert said.sentences[0].startswith("Right now: 7 runs in a row below 50")


def test_without_a_plan_nothing_is_judged() -> None:
    probe = a_probe(plan=None)
    report = a_report_without_plan(outages={"count": 3, "duration_s": 600}, outage_runs=9)
    said = verdict(probe, report, "the last 30 days", words())
    assert said.headline == "No verdict without a plan."
    assert said.ask_for_plan
    assert {tile.tone for tile in tiles(probe, report, words())} == {"none"}


def test_few_runs_get_a_number_and_no_judgement() -> None:
    report = a_report(n=3, fcc_band="BELOW_80", median_ratio=0.4, verdict="TOO_FEW", below_share=1)
    median = tiles(a_probe(), report, words())[0]
    assert median.tone == "none"
    assert median.n == "n = 3 runs: too few to judge"


def test_the_six_tiles_say_what_they_stand_on() -> None:
    report = a_report(below_count=5, below_share=0.05)
    found = tiles(a_probe(), report, words())
    assert [tile.value for tile in found] == [
        f"96{SPACE}%",
        f"5.0{SPACE}%",
        f"90{SPACE}%",
        f"\N{MINUS SIGN}3{SPACE}%",
        "0",
        "934",
    ]
    assert [tile.n for tile in found[:5]] == [
        "n = 100 runs",
        "n = 100 runs",
        "n = 20 runs",
        "n = 20 at peak, 80 off-peak",
        "n = 100 runs",
    ]


def test_a_last_run_without_a_figure_shows_none_and_never_0() -> None:
    probe = a_probe(last_run=a_run(outcome="OUTAGE", download_mbps=None))
    last = tiles(probe, a_report(), words())[5]
    assert last.value == "\N{EN DASH}"
    moment = (
        '<time datetime="2026-11-24T12:18:00+00:00" data-ago="instead">Tue 24 Nov, 05:18</time>'
    )
    assert last.detail == f"{moment}, line down"


def test_a_failed_tool_is_shown_with_its_reason() -> None:
    failure = {"kind": "NO_NETWORK", "message": "Name or service not known"}
    run = a_run(
        measurements=[
            {"tool": "speedtest-cli", "duration_s": 1, "failure": failure},
            {
                "tool": "lan",
                "local": True,
                "duration_s": 8,
                "download_mbps": 2300.0,
                "latency_ms": 0.4,
            },
        ]
    )
    failed, local = last_run(run, words()).lines
    assert failed.failure == "no network: Name or service not known"
    assert (local.download, local.local, local.failure) == ("2,300", True, None)


def test_tools_that_disagree_are_a_finding() -> None:
    tools = [
        {"tool": "fast", "median": 300, "n": 40, "failures": 0},
        {"tool": "lan", "local": True, "median": 2300, "n": 40, "failures": 0},
        {"tool": "ookla", "median": 900, "n": 40, "failures": 2},
    ]
    table = tool_table(a_report(tools=tools), words())
    assert table.finding is not None
    assert table.finding.startswith("fast is slow where ookla is fine: ookla reads 3.0 times")
    assert [line.share for line in table.lines if not line.local] == [33.3, 100]


def test_few_runs_make_no_finding() -> None:
    tools = [
        {"tool": "fast", "median": 300, "n": 5, "failures": 0},
        {"tool": "ookla", "median": 900, "n": 40, "failures": 2},
    ]
    assert tool_table(a_report(tools=tools), words()).finding is None


def test_the_map_takes_steps_of_four_hours_while_runs_are_few() -> None:
    hours = [{"weekday": 0, "hour": h, "medianRatio": 0.9, "n": 1} for h in range(4)]
    sparse = heat_map(a_report(hours=hours), words())
    assert sparse is not None
    assert (sparse.step_h, len(sparse.rows[0]), sparse.rows[0][0].n) == (4, 6, 4)
    assert sparse.rows[1][0].level is None


def test_the_map_shows_hours_once_there_are_enough() -> None:
    hours = [
        {"weekday": day, "hour": hour, "medianRatio": 0.4 if hour == 20 else 0.96, "n": 3}
        for day in range(7)
        for hour in range(24)
    ]
    full = heat_map(a_report(hours=hours), words())
    assert full is not None
    assert (full.step_h, full.rows[0][20].level, full.rows[0][3].level) == (1, 0, 4)
    assert full.rows[0][20].label == f"Mon 20:00\N{EN DASH}21:00: 40{SPACE}%, n = 3"


@pytest.mark.parametrize(
    ("figures", "median"),
    [
        ([], None),
        ([(5.0, 1)], 5.0),
        ([(1.0, 1), (3.0, 1)], 2.0),
        ([(1.0, 1), (9.0, 2)], 9.0),
        ([(1.0, 3), (9.0, 2), (4.0, 1)], 2.5),
    ],
)
def test_medians_of_hours_count_as_often_as_they_were_measured(
    figures: list[tuple[float, int]], median: float | None
) -> None:
    assert weighted_median(figures) == median


def test_a_gap_in_the_line_stays_a_gap() -> None:
    drawn = chart(a_history([900, None, 800, 810]), HALF, [], words())
    assert drawn.picture.median.count("M") == 2
    assert drawn.rows[2].median == "\N{EN DASH}"
    assert not drawn.empty


def test_a_history_without_runs_is_said_to_be_empty() -> None:
    assert chart(a_history([None, None]), HALF, [], words()).empty


def test_low_runs_and_breaches_are_marked_and_retracted_ones_are_not() -> None:
    breaches = [
        a_breach(first_run_at=NOW - timedelta(hours=2)),
        a_breach(status="RETRACTED", first_run_at=NOW - timedelta(hours=2)),
    ]
    picture = chart(a_history([900, 400, 950]), HALF, breaches, words()).picture
    assert len(picture.low) == 1
    assert len(picture.breaches) == 1


@pytest.mark.parametrize(("top", "step"), [(1000, 200), (940, 200), (99, 20), (5, 1), (2600, 1000)])
def test_the_axis_has_round_steps(top: float, step: float) -> None:
    assert nice_step(top) == step


@pytest.mark.parametrize("status", NOTICE_GLYPHS)
def test_every_state_of_a_notice_has_words(status: str) -> None:
    breach = a_breach(notices=[a_notice(status, "a reason")])
    (notice,) = breach_line(breach, words()).notices
    assert notice.name == "Mail, complaint:"
    assert notice.status
    assert notice.why == (None if status == "SENT" else "because: a reason")


def test_a_channel_without_a_word_keeps_its_own_name() -> None:
    breach = a_breach(notices=[a_notice("PLANNED", channel="pigeon")])
    assert breach_line(breach, words()).notices[0].name == "pigeon, complaint:"


def test_a_breach_without_a_figure_was_a_line_down() -> None:
    assert breach_line(a_breach(median_mbps=None), words()).figure == "line down"


def test_a_plan_without_a_measured_run_is_not_called_a_missing_plan() -> None:
    nothing = {"n": 0, "median_mbps": None, "median_ratio": None, "below_share": None}
    report = a_report(verdict="TOO_FEW", **nothing, below_count=0, outage_runs=0)
    median, below, *_ = tiles(a_probe(), report, words())
    assert median.detail == below.detail == "no measured run in this range"


@pytest.mark.parametrize(
    ("handle", "begins"), [("", "Slow"), ("@isp", "@isp Slow"), ("isp", "@isp Slow")]
)
def test_a_person_may_post_with_a_mention_what_the_bots_post_without(
    handle: str, begins: str
) -> None:
    link = by_hand("twitter", "Slow & dear: 48 %", handle)
    assert link is not None
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "x.com", "/intent/post")
    assert parse_qs(parts.query) == {"text": [f"{begins} & dear: 48 %"]}


def test_a_mail_is_not_posted() -> None:
    assert by_hand("mail", "Slow", "isp") is None


@given(st.decimals("0.01", "1", places=2), st.decimals("0.1", "10000", places=2))
def test_a_bound_that_is_drawn_is_the_one_that_graph_judges_by(
    ratio: Decimal, bought: Decimal
) -> None:
    rule = Rule(below_ratio=float(ratio))
    assert rule.threshold(float(bought)) == float(ratio * bought)
