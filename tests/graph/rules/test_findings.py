"""One tool against all others is a finding about the tool, and no breach of the line."""

from datetime import timedelta
from uuid import UUID

from speedtrap_graph.rules.judgement import judge
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric, Reading, Rule
from speedtrap_graph.rules.outlier_tools import Finding, findings

from tests.graph.rules.builders import NOON, a_failure, a_plan, a_reading, a_run, hour

PLAN = a_plan(1000)


def found(
    *rounds: tuple[Reading, ...], rule: Rule = DEFAULT_RULE, busy: bool = False
) -> list[Finding]:
    """One run an hour."""
    runs = [
        a_run(
            *readings,
            started_at=NOON + timedelta(hours=place),
            cross_traffic_mbps=900 if busy else None,
        )._replace(id=UUID(int=place))
        for place, readings in enumerate(rounds)
    ]
    judged = [(run, judge(run, PLAN, [DEFAULT_RULE])) for run in runs]
    return findings(judged, [PLAN], rule)


def a_round(fast: float, ookla: float = 940.0, ndt7: float = 900.0) -> tuple[Reading, ...]:
    return a_reading("ookla", ookla), a_reading("fast", fast), a_reading("ndt7", ndt7)


def test_a_tool_that_alone_is_below_half_is_a_finding_with_its_evidence() -> None:
    (finding,) = found(*[a_round(fast=100 + place) for place in range(7)])
    assert (finding.tool, finding.metric, finding.count) == ("fast", Metric.DOWNLOAD, 7)
    assert (finding.since, finding.last_run_at, finding.ended_at) == (hour(0), hour(6), None)
    assert finding.median == 103
    assert [(other.tool, other.n, other.median) for other in finding.others] == [
        ("ndt7", 7, 900),
        ("ookla", 7, 940),
    ]


def test_five_runs_are_too_few_and_a_good_one_ends_it() -> None:
    assert found(*[a_round(100)] * 5) == []
    assert found(*[a_round(100)] * 5, a_round(900), a_round(100)) == []
    (finding,) = found(*[a_round(100)] * 6, a_round(900))
    assert finding.ended_at == hour(6)


def test_where_another_tool_is_slow_as_well_it_says_nothing() -> None:
    both = a_round(100, ndt7=90)
    (finding,) = found(*[a_round(100)] * 5, both, a_round(100))
    assert finding.count == 6
    assert found(*[both] * 9) == []
    assert found(*[a_round(100, ookla=90, ndt7=80)] * 9) == []


def test_a_tool_by_itself_or_beside_broken_and_local_ones_says_nothing() -> None:
    assert found(*[(a_reading("fast", 100),)] * 9) == []
    alone = (a_reading("fast", 100), a_failure("ookla"), a_reading("lan", 5000))
    assert found(*[alone] * 9) == []


def test_a_doubtful_run_blames_no_tool() -> None:
    assert found(*[a_round(100)] * 9, busy=True) == []


def test_latency_is_judged_the_other_way_round() -> None:
    rule = Rule(metric=Metric.LATENCY, above_ms=50, more_than=1)
    slow = (a_reading("ookla", 900, latency=10), a_reading("fast", 900, latency=80))
    (finding,) = found(*[slow] * 2, rule=rule)
    assert (finding.tool, finding.metric, finding.median) == ("fast", Metric.LATENCY, 80)
