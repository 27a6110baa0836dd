"""A tool that looked twice in one run, on another server: the better figure counts, once."""

from datetime import timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from speedtrap_graph.rules import report as reports
from speedtrap_graph.rules.judgement import judge, observation
from speedtrap_graph.rules.model import DEFAULT_RULE, FailureKind, Metric
from speedtrap_graph.rules.report import ToolFigure
from speedtrap_graph.services.history.report import service_report
from speedtrap_graph.services.history.series import HistoryQuery, history

from tests.graph.rules.builders import NOON, a_failure, a_plan, a_reading, a_run
from tests.graph.services.stored import a_stored_run

PLAN = a_plan(download_mbps=1000)
RULES = {Metric.DOWNLOAD: DEFAULT_RULE, Metric.LATENCY: DEFAULT_RULE}
SLOW, AGAIN = a_reading("ookla", 100, latency=50), a_reading("ookla", 900, latency=12)
OTHER = a_reading("fast", 80)
A_DAY_ON = NOON + timedelta(days=1)


def test_the_second_look_vouches_for_the_line_in_either_order() -> None:
    for readings in ((SLOW, OTHER, AGAIN), (AGAIN, OTHER, SLOW)):
        best = judge(a_run(*readings), PLAN, [DEFAULT_RULE]).best
        assert (best[Metric.DOWNLOAD], best[Metric.LATENCY]) == (900, 12)


def test_a_second_look_that_fails_takes_nothing_back() -> None:
    run = a_run(SLOW, OTHER, a_failure("ookla", FailureKind.RATE_LIMITED))
    assert judge(run, PLAN, [DEFAULT_RULE]).best[Metric.DOWNLOAD] == 100


async def test_history_and_report_count_it_as_one_measurement(
    database: AsyncDatabase[dict[str, Any]],
) -> None:
    readings = (SLOW, OTHER, AGAIN)
    stored = a_stored_run(*readings, at=NOON, number=1, plan=PLAN)
    await database["runs"].insert_one(stored)

    by_tool = HistoryQuery("laptop", NOON, A_DAY_ON, tool="ookla", buckets=1)
    drawn = await history(database, by_tool, [PLAN], RULES)
    assert (drawn.n, drawn.max, drawn.min) == ((1,), (900,), (900,))

    told = await service_report(database, "laptop", NOON, A_DAY_ON, [PLAN], RULES)
    assert told.tools == (ToolFigure("fast", 80, 1, 0, 0.08), ToolFigure("ookla", 900, 1, 0, 0.9))
    assert (told.n, told.below_count) == (1, 0)

    run = a_run(*readings)
    said = observation(run, judge(run, PLAN, [DEFAULT_RULE]), PLAN, DEFAULT_RULE)
    seen = [reports.SeenRun(said, readings)]
    reckoned = reports.service_report("laptop", NOON, A_DAY_ON, seen, [PLAN], DEFAULT_RULE)
    assert reckoned.tools == told.tools
