"""The service report: every figure by hand on small samples."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.model import (
    DEFAULT_RULE,
    FailureKind,
    Observation,
    Plan,
    Reading,
)
from speedtrap_graph.rules.report import (
    FccBand,
    Figure,
    HourFigure,
    OutageSummary,
    SeenRun,
    ServiceReport,
    ToolFigure,
    Verdict,
    fcc_band,
    service_report,
)

from tests.graph.rules.builders import (
    EPOCH,
    NOON,
    a_failure,
    a_line,
    a_plan,
    a_reading,
    an_observation,
    hour,
)

PLAN = a_plan(download_mbps=1000)
MONDAY_PEAK = NOON.replace(hour=19)


def measured(*values: float, since: datetime = NOON, every_min: int = 60) -> list[Observation]:
    return [
        an_observation(
            value, at=since + timedelta(minutes=every_min * place), number=place, threshold=500
        )
        for place, value in enumerate(values)
    ]


def report_on(
    observations: Iterable[Observation],
    plans: Iterable[Plan] = (PLAN,),
    readings: tuple[Reading, ...] = (),
) -> ServiceReport:
    return service_report(
        probe="laptop",
        since=NOON,
        until=NOON + timedelta(days=30),
        runs=[SeenRun(observation, readings) for observation in observations],
        plans=list(plans),
        rule=DEFAULT_RULE,
    )


def test_no_runs_make_an_empty_report_and_no_verdict() -> None:
    report = report_on([])
    assert report.verdict is Verdict.TOO_FEW
    assert (report.n, report.median_mbps, report.fcc_band, report.below_share) == (
        0,
        None,
        None,
        None,
    )
    assert report.peak == report.off_peak == Figure(None, 0)
    assert report.outages == OutageSummary(0, 0)
    assert (report.tools, report.hours, report.plan) == ((), (), PLAN)


def test_runs_are_counted_by_their_outcome() -> None:
    report = report_on(a_line("gbboi-"))
    assert (report.n, report.outage_runs, report.inconclusive_runs) == (3, 1, 1)


def test_outages_and_inconclusive_runs_are_no_throughput() -> None:
    report = report_on(a_line("gooooig"))
    assert report.median_mbps == 900


def test_the_share_below_the_rule_counts_outages_and_leaves_out_what_says_nothing() -> None:
    report = report_on(a_line("gbooi-g"))
    assert (report.below_count, report.below_share) == (3, 3 / 5)


def test_the_longest_and_the_current_streak_pass_over_inconclusive_runs() -> None:
    report = report_on(a_line("bbobgbib"))
    assert (report.longest_streak, report.current_streak) == (4, 2)


def test_an_outage_lasts_until_the_next_run_that_is_none() -> None:
    assert report_on(a_line("goooggog")).outages == OutageSummary(2, 4 * 3600)
    assert report_on(a_line("goig")).outages == OutageSummary(1, 3600)


def test_an_outage_that_nothing_followed_lasts_until_its_last_run_ended() -> None:
    assert report_on(a_line("goo")).outages == OutageSummary(1, 3600 + 60)


@pytest.mark.parametrize(
    ("ratio", "band"),
    [
        (0.95, FccBand.AT_LEAST_95),
        (0.9499, FccBand.FROM_80_TO_95),
        (0.80, FccBand.FROM_80_TO_95),
        (0.7999, FccBand.BELOW_80),
    ],
)
def test_the_bands_are_the_fccs(ratio: float, band: FccBand) -> None:
    assert fcc_band(ratio) is band


def test_the_median_is_held_against_the_plan() -> None:
    report = report_on(measured(900, 960, 980))
    assert (report.median_mbps, report.median_ratio) == (960, 0.96)
    assert report.fcc_band is FccBand.AT_LEAST_95


def test_each_run_is_held_against_the_plan_of_its_own_time() -> None:
    plans = [a_plan(100, since=EPOCH), a_plan(1000, since=hour(3))]
    report = report_on(measured(95, 95, 95, 950, 950, 950, 950), plans)
    assert (report.median_mbps, report.median_ratio) == (950, 0.95)
    assert report.plan == plans[1]


def test_without_a_plan_there_are_figures_but_no_ratios_and_no_verdict() -> None:
    line = [observation._replace(threshold=None) for observation in measured(*[100] * 9)]
    report = report_on(line, plans=())
    assert (report.median_mbps, report.median_ratio, report.fcc_band) == (100, None, None)
    assert (report.below_count, report.below_share) == (0, None)
    assert (report.plan, report.verdict) == (None, Verdict.TOO_FEW)


def test_the_consistent_speed_is_what_four_in_five_peak_runs_reach() -> None:
    at_peak = measured(500, 600, 700, 800, 900, 1000, since=MONDAY_PEAK, every_min=30)
    report = report_on([*measured(10, 20), *at_peak])
    assert (report.consistent_mbps, report.consistent_ratio) == (600, 0.6)
    assert (report.peak, report.off_peak) == (Figure(750, 6), Figure(15, 2))


def test_peak_hours_are_those_of_the_plans_time_zone() -> None:
    six_in_london = measured(700, since=NOON.replace(hour=18))
    assert report_on(six_in_london, [a_plan(time_zone="Europe/London")]).peak.n == 0
    assert report_on(six_in_london, [a_plan(time_zone="Europe/Berlin")]).peak.n == 1


def test_hours_of_the_week_are_local_and_only_those_with_observations() -> None:
    line = measured(100, 300, 500, every_min=30)
    report = report_on([*line, *a_line("oi")[:1]], [a_plan(1000, time_zone="America/Denver")])
    assert report.hours == (HourFigure(0, 5, 200, 2, 0.2), HourFigure(0, 6, 500, 1, 0.5))


def test_each_tool_has_its_own_median_and_failures_and_local_ones_come_last() -> None:
    good, doubtful = a_line("gi")
    runs = [
        SeenRun(good, (a_reading("ookla", 900), a_reading("fast", 500), a_reading("lan", 2000))),
        SeenRun(good, (a_reading("ookla", 700), a_failure("fast", FailureKind.TIMEOUT))),
        SeenRun(doubtful, (a_reading("ookla", 100), a_reading("lan", 90))),
    ]
    report = service_report("laptop", NOON, hour(9), runs, [PLAN], DEFAULT_RULE)
    assert report.tools == (
        ToolFigure("fast", 500, 1, 1, 0.5),
        ToolFigure("ookla", 800, 2, 0, 0.8),
        ToolFigure("lan", 1045, 2, 0, None),
    )


def verdict_on(*values: float, letters: str = "") -> Verdict:
    return report_on([*measured(*values), *a_line(letters, threshold=500)]).verdict


def test_five_runs_are_too_few_for_a_verdict_and_six_are_enough() -> None:
    assert verdict_on(*[950] * 5) is Verdict.TOO_FEW
    assert verdict_on(*[950] * 6) is Verdict.DELIVERED


def test_outages_count_towards_a_verdict() -> None:
    assert verdict_on(letters="ooooo") is Verdict.TOO_FEW
    assert verdict_on(letters="oooooo") is Verdict.NOT_DELIVERED


def test_inconclusive_runs_do_not() -> None:
    assert verdict_on(*[950] * 5, letters="iiiii") is Verdict.TOO_FEW


def test_a_median_below_four_fifths_is_not_delivered() -> None:
    assert verdict_on(*[799] * 6) is Verdict.NOT_DELIVERED
    assert verdict_on(*[800] * 6) is Verdict.PARTLY


def test_a_rule_broken_in_one_run_of_five_is_not_delivered() -> None:
    assert verdict_on(*[990] * 8, 100, 100) is Verdict.NOT_DELIVERED
    assert verdict_on(*[990] * 9, 100) is Verdict.DELIVERED


def test_a_good_median_with_slow_evenings_is_partly_delivered() -> None:
    evening = measured(*[790] * 6, since=MONDAY_PEAK, every_min=30)
    assert report_on([*measured(*[990] * 7), *evening]).verdict is Verdict.PARTLY


def test_a_streak_as_long_as_a_breach_is_never_delivered_in_full() -> None:
    a_week = measured(*[990] * 160)
    six_slow = measured(*[100] * 6, since=NOON + timedelta(days=8))
    assert report_on([*a_week, *six_slow[:5]]).verdict is Verdict.DELIVERED
    assert report_on([*a_week, *six_slow]).verdict is Verdict.PARTLY


@given(st.text("bgoi-", max_size=60))
def test_the_figures_of_a_report_agree_with_each_other(letters: str) -> None:
    report = report_on(a_line(letters))
    figures = len(letters) - letters.count("o") - letters.count("i") - letters.count("-")
    assert report.n == figures
    assert report.outage_runs + report.inconclusive_runs == letters.count("o") + letters.count("i")
    assert report.peak.n + report.off_peak.n == sum(cell.n for cell in report.hours) == figures
    assert report.current_streak <= report.longest_streak <= report.below_count
    assert report.outages.count <= report.outage_runs
    assert (report.fcc_band is None) == (report.median_ratio is None)


def test_run_ids_do_not_matter_to_a_report() -> None:
    line = a_line("gbog")
    renamed = [seen._replace(run_id=UUID(int=99 - place)) for place, seen in enumerate(line)]
    assert report_on(line) == report_on(renamed)


def test_the_ratios_of_tools_and_hours_are_those_of_the_plan_of_their_time() -> None:
    """After a step from 100 to 1000 Mbps an old 90 is still nine tenths."""
    old, new = measured(90, since=NOON), measured(800, since=NOON + timedelta(days=7))
    runs = [SeenRun(one, (a_reading("ookla", one.value or 0),)) for one in (*old, *new)]
    plans = [a_plan(100), a_plan(1000, since=NOON + timedelta(days=1))]
    report = service_report("laptop", NOON, NOON + timedelta(days=8), runs, plans, DEFAULT_RULE)
    (hour_figure,), (tool,) = report.hours, report.tools
    assert (hour_figure.median, tool.median) == (445, 445)
    assert hour_figure.median_ratio == tool.median_ratio == pytest.approx(0.85)


@pytest.mark.parametrize("bought", [57, 100, 940, 333.3])
@pytest.mark.parametrize(
    ("share", "band"), [("0.95", FccBand.AT_LEAST_95), ("0.80", FccBand.FROM_80_TO_95)]
)
def test_a_median_exactly_at_the_border_of_a_band_is_in_it(
    bought: float, share: str, band: FccBand
) -> None:
    median = float(Decimal(share) * Decimal(str(bought)))
    assert fcc_band(median / bought) is band


def test_n_is_the_number_of_runs_behind_the_median() -> None:
    """Three measured the upload alone."""
    report = report_on([*measured(500, 600), *a_line("---")])
    assert (report.n, report.median_mbps) == (2, 550)


def test_the_verdict_says_what_it_stands_on() -> None:
    mornings = measured(*[900] * 9)
    report = report_on([*mornings, *a_line("oo", threshold=500)])
    assert (report.judged_runs, report.judged_by_peak) == (11, False)
    evenings = measured(*[900] * 9, since=NOON + timedelta(hours=7), every_min=10)
    assert report_on(evenings).judged_by_peak is True
    without = [seen._replace(threshold=None) for seen in mornings]
    runs = [SeenRun(seen, ()) for seen in without]
    unplanned = service_report("laptop", NOON, NOON + timedelta(days=9), runs, [], DEFAULT_RULE)
    assert (unplanned.judged_runs, unplanned.verdict) == (0, Verdict.TOO_FEW)
