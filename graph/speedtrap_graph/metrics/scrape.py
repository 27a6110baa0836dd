"""One answer to whoever scrapes."""

import asyncio
import logging
import os
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from pymongo.errors import PyMongoError

from speedtrap_graph.api.guards.errors import TOLD
from speedtrap_graph.api.services import Services
from speedtrap_graph.errors import CODES
from speedtrap_graph.http.quotas import Quotas
from speedtrap_graph.metrics.lines import put_disk, put_house, put_line, put_week
from speedtrap_graph.metrics.names import NAMES, PROCESS, Sheet
from speedtrap_graph.metrics.snapshot import Snapshot

_log = logging.getLogger(__name__)

_SLOWEST_PING_S = 2.0


def _process_name() -> str:
    return f"{platform.node()}:{os.getpid()}"


@dataclass(frozen=True)
class Families(Collector):
    """What prometheus_client writes out."""

    found: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.found


@dataclass
class Scrape:
    """`most_probes` bounds the number of series, `timeout_s` how long MongoDB is waited for;
    `exporters` are those at work, for their places outlive them.
    """

    services: Services
    quotas: Quotas
    most_probes: int
    timeout_s: float
    exporters: frozenset[str] = frozenset()
    process: str = field(default_factory=_process_name)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def families(self, patience_s: float | None = None) -> Families:
        """All that can be told within the time-out, or the shorter *patience_s*."""
        begun = time.perf_counter()
        limit_s = min(self.timeout_s, patience_s or self.timeout_s)
        house = Sheet(name for name in NAMES.values() if not name.of_process)
        own = Sheet(name for name in NAMES.values() if name.of_process)
        reading = _Reading(self.services, house, self.most_probes, self.exporters)
        try:
            # One at a time: many that ask at once must not read the database as often.
            async with asyncio.timeout(limit_s), self._turn:
                await reading.all()
        except (PyMongoError, ConnectionError, TimeoutError) as error:
            _log.warning("this scrape lacks what MongoDB did not tell: %s", type(error).__name__)
        self._put_process(own, reading)
        own.put("speedtrap_scrape_duration_seconds", time.perf_counter() - begun, self.process)
        python = (
            family
            for collector in (PROCESS_COLLECTOR, GC_COLLECTOR, self.services.timing.histogram)
            for family in collector.collect()
        )
        return Families([*house.families(), *own.families(), *(_labelled(python, self.process))])

    def _put_process(self, sheet: Sheet, reading: "_Reading") -> None:
        me, submission_counts = self.process, self.services.ingest.submission_counts
        sheet.put("speedtrap_build_info", 1, version("speedtrap-graph"), me)
        sheet.put("speedtrap_database_up", reading.is_up, me)
        sheet.put("speedtrap_scrape_complete", reading.is_complete, me)
        for result, count in submission_counts.runs.items():
            sheet.put("speedtrap_runs_submitted_total", count, result, me)
        for reason, count in sorted(submission_counts.rejected.items()):
            sheet.put("speedtrap_runs_rejected_total", count, reason, me)
        for code in sorted({*CODES, *TOLD}):
            # From 0 on: the first error must show as a rise.
            sheet.put("speedtrap_errors_total", TOLD[code], code, me)
        sheet.put("speedtrap_requests_refused_total", self.quotas.refused_count, me)
        following = self.services.events.following()
        sheet.put("speedtrap_subscribers", following.of_breaches, "breaches", me)
        sheet.put("speedtrap_subscribers", following.of_runs, "runs", me)
        sheet.put("speedtrap_lagging_subscribers", following.lagging, me)
        sheet.put("speedtrap_event_queue_length", following.queued, me)
        sheet.put("speedtrap_change_stream_quiet_seconds", following.quiet_s, me)
        if reading.newest_event is not None:
            behind = max(0, reading.newest_event - following.newest)
            sheet.put("speedtrap_change_stream_behind_events", behind, me)


@dataclass
class _Reading:
    """What MongoDB tells, part by part: what was read stays, whatever comes after."""

    services: Services
    sheet: Sheet
    most_probes: int
    exporters: frozenset[str]
    is_up: bool = False
    is_complete: bool = False
    newest_event: int | None = None

    async def all(self) -> None:
        async with asyncio.timeout(_SLOWEST_PING_S):
            await self.services.store.ping()
        self.is_up = True
        snapshot = Snapshot(self.services.store, self.services.clock())
        house = await snapshot.house()
        put_house(self.sheet, house, self.most_probes, self.exporters)
        self.newest_event = house.events["breaches"]
        put_disk(self.sheet, await snapshot.disk())
        lines = await snapshot.lines(self.most_probes) if self.most_probes else []
        for line in lines:
            put_line(self.sheet, line)
        for line in lines:
            put_week(self.sheet, line.probe, await snapshot.week(line.probe))
        self.is_complete = True


def _labelled(families: Iterable[Metric], process: str) -> Iterator[Metric]:
    """With the process as one more label: copies behind one address take turns in answering."""
    for family in families:
        copy = Metric(family.name, family.documentation, family.type)
        copy.samples = [_with(sample, process) for sample in family.samples]
        yield copy


def _with(sample: Sample, process: str) -> Sample:
    labels: dict[str, Any] = {**sample.labels, PROCESS: process}
    return sample._replace(labels=labels)
