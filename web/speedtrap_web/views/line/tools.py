"""The tools beside each other, over the range and in the last run."""

from dataclasses import dataclass

from speedtrap_web.graphql.answers import Measurement, Run, ServiceReport
from speedtrap_web.views.reasons import judgement
from speedtrap_web.views.words import ENOUGH_TO_JUDGE, Words

TOOLS_DIFFER = 1.5
TOOLS_AGREE = 1.15
"""Servers and methods differ by so much without meaning anything."""


@dataclass(frozen=True, slots=True)
class ToolLine:
    """`share` is the bar's length in percent of the fastest tool."""

    tool: str
    local: bool
    median: str
    ratio: str
    share: float
    n: str
    failures: int


@dataclass(frozen=True, slots=True)
class ToolTable:
    lines: tuple[ToolLine, ...]
    finding: str | None
    differ: bool = False


@dataclass(frozen=True, slots=True)
class MeasurementLine:
    tool: str
    local: bool
    download: str
    upload: str
    latency: str
    server: str
    failure: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    id: str
    when: str
    outcome: str
    outcome_code: str
    reason: str
    medium: str
    lines: tuple[MeasurementLine, ...]


def tool_table(report: ServiceReport, words: Words) -> ToolTable:
    internet = [tool.median or 0 for tool in report.tools if not tool.local]
    fastest = max(internet, default=0) or 1
    lines = tuple(
        ToolLine(
            tool=tool.tool,
            local=tool.local,
            median=words.catalogue.mbps(tool.median),
            ratio="" if tool.local else words.catalogue.percent(tool.median_ratio),
            share=round((tool.median or 0) / fastest * 100, 1),
            n=words.catalogue.number(tool.n),
            failures=tool.failures,
        )
        for tool in report.tools
    )
    return ToolTable(lines, *_finding(report, words))


def _finding(report: ServiceReport, words: Words) -> tuple[str | None, bool]:
    """ "Ookla fine, fast.com slow" points at a path, not at the whole line; whether they differ."""
    known = [
        (tool.median, tool.tool)
        for tool in report.tools
        if tool.median and tool.n >= ENOUGH_TO_JUDGE and not tool.local
    ]
    if len(known) < 2:
        return None, False
    (low, slow), (high, fast) = min(known), max(known)
    if high / low < TOOLS_AGREE:
        return words.text("tools.agree", n=words.catalogue.number(len(known))), False
    if high / low < TOOLS_DIFFER:
        return None, False
    factor = words.catalogue.number(high / low, 1)
    return words.text("tools.differ", fast=fast, slow=slow, factor=factor), True


def last_run(run: Run, words: Words) -> LastRun:
    return LastRun(
        id=run.id,
        when=words.when_and_ago(run.started_at),
        outcome=words.text(f"outcome.{run.outcome}"),
        outcome_code=run.outcome,
        reason=judgement(run.outcome_reason, words.catalogue),
        medium=words.text(f"medium.{run.conditions.medium}"),
        lines=tuple(_measurement(measurement, words) for measurement in run.measurements),
    )


def _measurement(measurement: Measurement, words: Words) -> MeasurementLine:
    server = measurement.server
    failure = None
    if measurement.failure is not None:
        kind = words.text(f"failure.{measurement.failure.kind}")
        failure = words.text("last.failed", kind=kind, message=measurement.failure.message)
    return MeasurementLine(
        tool=measurement.tool,
        local=measurement.local,
        download=words.catalogue.mbps(measurement.download_mbps),
        upload=words.catalogue.mbps(measurement.upload_mbps),
        latency=words.text("tile.none")
        if measurement.latency_ms is None
        else words.catalogue.number(measurement.latency_ms, 1),
        server=", ".join(part for part in (server.name, server.location) if part) if server else "",
        failure=failure,
    )
