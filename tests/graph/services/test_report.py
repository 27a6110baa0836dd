"""The service report from the stored runs, against a real mongod."""

from datetime import timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.model import DEFAULT_RULE, FailureKind, Metric, Rule
from speedtrap_graph.rules.report import OutageSummary, ToolFigure, Verdict
from speedtrap_graph.services.history.report import service_report

from tests.graph.rules.builders import NOON, a_failure, a_plan, a_reading
from tests.graph.services.stored import a_stored_run

Database = AsyncDatabase[dict[str, Any]]

PLAN = a_plan(download_mbps=1000)
RULES = {Metric.DOWNLOAD: DEFAULT_RULE}
A_DAY_ON = NOON + timedelta(days=1)


async def test_a_report_reads_the_range_of_the_probe_in_the_order_of_time(
    database: Database,
) -> None:
    slow = [
        a_stored_run(
            a_reading("ookla", 100 + number),
            a_failure("fast", FailureKind.TOOL_MISSING),
            at=NOON + timedelta(hours=number),
            number=100 - number,
            plan=PLAN,
        )
        for number in range(6)
    ]
    down = a_stored_run(
        a_failure(), at=NOON + timedelta(hours=6), number=7, plan=PLAN, line_up=False
    )
    good = a_stored_run(a_reading("ookla", 990), at=NOON + timedelta(hours=7), number=8, plan=PLAN)
    too_late = a_stored_run(a_reading("ookla", 990), at=A_DAY_ON, number=9, plan=PLAN)
    other = a_stored_run(a_reading("ookla", 5), at=NOON, number=10, plan=PLAN, probe="pi-attic")
    await database["runs"].insert_many([good, down, *reversed(slow), too_late, other])

    report = await service_report(database, "laptop", NOON, A_DAY_ON, [PLAN], RULES)

    assert (report.n, report.outage_runs, report.inconclusive_runs) == (7, 1, 0)
    assert (report.median_mbps, report.median_ratio) == (103, 0.103)
    assert (report.below_count, report.longest_streak, report.current_streak) == (7, 7, 0)
    assert report.outages == OutageSummary(1, 3600)
    assert report.tools == (
        ToolFigure("fast", None, 0, 6, None),
        ToolFigure("ookla", 103, 7, 1, 0.103),
    )
    assert report.verdict is Verdict.NOT_DELIVERED
    assert report.plan == PLAN


async def test_the_probes_own_download_rule_decides_what_is_below(database: Database) -> None:
    run = a_stored_run(a_reading("ookla", 700), at=NOON, number=1, plan=PLAN)
    await database["runs"].insert_one(run)
    strict = {Metric.DOWNLOAD: Rule(below_ratio=0.8)}
    assert (await service_report(database, "laptop", NOON, A_DAY_ON, [PLAN], {})).below_count == 0
    report = await service_report(database, "laptop", NOON, A_DAY_ON, [PLAN], strict)
    assert report.below_count == 1


async def test_an_unknown_probe_has_an_empty_report(database: Database) -> None:
    report = await service_report(database, "nobody", NOON, A_DAY_ON, [], {})
    assert (report.n, report.verdict) == (0, Verdict.TOO_FEW)


async def test_a_range_that_ends_before_it_begins_is_refused(database: Database) -> None:
    with pytest.raises(BadInputError) as refusal:
        await service_report(database, "laptop", A_DAY_ON, NOON, [PLAN], RULES)
    assert refusal.value.field == "until"
