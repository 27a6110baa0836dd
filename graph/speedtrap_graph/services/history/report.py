"""The service report of a stored range of runs."""

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.eras import Eras
from speedtrap_graph.rules.grid import Level, cover
from speedtrap_graph.rules.model import DEFAULT_RULE, Metric, Plan, Rule
from speedtrap_graph.rules.report import Part, ServiceReport, report_of
from speedtrap_graph.rules.stretch import joined
from speedtrap_graph.rules.summary import Summariser, Summary
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.services.judging.readings import FigureReader
from speedtrap_graph.store import rollups as stored
from speedtrap_graph.store.rollups import milliseconds


async def service_report(
    database: AsyncDatabase[dict[str, Any]],
    probe: str,
    since: datetime,
    until: datetime,
    plans: Sequence[Plan],
    rules: Mapping[Metric, Rule],
) -> ServiceReport:
    """What *probe*'s line delivered in [*since*, *until*), by the download rule.

    Up to `rollups.EXACT_RUNS` runs every figure is exact. A longer report, or one that reaches back
    beyond the runs that are kept, is put together from
    rolled-up months, with days, hours and runs at its ends and where a plan changes: then counts,
    shares, streaks and outages are still exact, percentiles within 1 %, and the work depends on the
    number of months. (Where an outage is followed by a gap of just `SILENCE_GAPS` intervals, the
    starts of all runs in the range are read as well.)
    """
    if since >= until:
        raise BadInputError("until must be later than since", field="until")
    rule = rules.get(Metric.DOWNLOAD, DEFAULT_RULE)
    rollups = Rollups(database, probe, plans, rules)
    exact = await rollups.may_be_exact(since, until)
    if exact:
        parts = await _exact(rollups, since, until)
    else:
        parts = await _rolled_up(rollups, since, until)
    usual_ms = None
    if joined(part.summary.stretch for part in parts).is_unsure_of_outages():
        usual_ms = await rollups.usual_interval_ms(since, until)
    # Arithmetic for some milliseconds: the event loop goes on meanwhile.
    report = await to_thread(report_of, probe, since, until, parts, plans, rule, usual_ms)
    return replace(report, exact=exact)


async def _exact(rollups: Rollups, since: datetime, until: datetime) -> list[Part]:
    reader = FigureReader([Metric.DOWNLOAD])
    found = rollups.database["runs"].find(
        {"probe": rollups.probe, "started_at": {"$gte": since, "$lt": until}},
        reader.projection,
        sort=[("started_at", ASCENDING), ("_id", ASCENDING)],
    )
    rows = await found.to_list()

    def compute() -> list[Part]:
        summariser = Summariser(rollups.eras, [Metric.DOWNLOAD])
        parts = _Parts(rollups.eras)
        for row in rows:
            run = reader.read(row)
            summariser.take(parts.at(run.start_ms), run)
        return parts.all()

    return await to_thread(compute)


async def _rolled_up(rollups: Rollups, since: datetime, until: datetime) -> list[Part]:
    frozen_ms = await rollups.refresh()
    extent = await rollups.extent(milliseconds(since), milliseconds(until), frozen_ms)
    if extent is None:
        return []
    spans = [
        span
        for _, start, end in rollups.eras.between(*extent)
        for span in cover(rollups.grid, start, end, Level.MONTH)
    ]
    found = await rollups.read(spans, stored.of_report(Metric.DOWNLOAD), frozen_ms)

    def compute() -> list[Part]:
        parts = _Parts(rollups.eras)
        for start, summary in found:
            parts.at(start).join(summary)
        for part in parts.all():
            part.summary.settle()
        return parts.all()

    return await to_thread(compute)


class _Parts:
    """One summary an era, made as they come up, which is in order of time."""

    def __init__(self, eras: Eras) -> None:
        self._eras = eras
        self._found: dict[int, Part] = {}

    def at(self, moment_ms: int) -> Summary:
        era = self._eras.at(moment_ms)
        part = self._found.get(era.since_ms)
        if part is None:
            part = self._found[era.since_ms] = Part(era.plan, Summary())
        return part.summary

    def all(self) -> list[Part]:
        return list(self._found.values())
