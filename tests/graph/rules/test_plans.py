"""Which plan was in force."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.model import Metric, Rule
from speedtrap_graph.rules.plans import plan_at, subscribed, threshold

from tests.graph.rules.builders import EPOCH, NOON, a_plan

OLD = a_plan(100, since=EPOCH)
NEW = a_plan(940, since=NOON)


def test_a_plan_is_in_force_from_its_first_moment_until_the_next() -> None:
    assert plan_at([OLD, NEW], NOON - timedelta(milliseconds=1)) == OLD
    assert plan_at([OLD, NEW], NOON) == NEW
    assert plan_at([OLD, NEW], NOON + timedelta(days=999)) == NEW


def test_there_is_no_plan_before_the_first() -> None:
    assert plan_at([NEW], NOON - timedelta(seconds=1)) is None
    assert plan_at([], NOON) is None


def test_a_plan_promises_throughputs_only() -> None:
    plan = a_plan(940, upload_mbps=40)
    promised = {metric: subscribed(plan, metric) for metric in Metric}
    assert {metric: value for metric, value in promised.items() if value is not None} == {
        Metric.DOWNLOAD: 940,
        Metric.UPLOAD: 40,
    }
    assert subscribed(None, Metric.DOWNLOAD) is None


@given(
    st.decimals("0.01", "1", places=2),
    st.decimals("0.1", "10000", places=2),
)
def test_a_figure_exactly_at_the_bound_keeps_the_rule(ratio: Decimal, bought: Decimal) -> None:
    plan, rule = a_plan(float(bought)), Rule(below_ratio=float(ratio))
    at_the_bound = float(ratio * bought)
    assert threshold(rule, plan) == at_the_bound


def test_fifty_five_is_fifty_five_hundredths_of_a_hundred() -> None:
    assert threshold(Rule(below_ratio=0.55), a_plan(100)) == 55.0
