"""Runs as lines of a table, and one of them with all that is known about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from speedtrap_web.graphql.answers import Conditions, Measurement, Run
from speedtrap_web.views.reasons import judgement
from speedtrap_web.views.words import Words

OUTCOMES = ("MEASURED", "OUTAGE", "INCONCLUSIVE")


@dataclass(frozen=True, slots=True)
class Cell:
    """One tool in one run: a figure in Mbps, or why there is none."""

    figure: str
    failure: str | None


@dataclass(frozen=True, slots=True)
class Line:
    href: str
    when: str
    probe: str
    outcome_code: str
    outcome: str
    figure: str
    ratio: str
    cells: tuple[Cell, ...]
    conditions: str


@dataclass(frozen=True, slots=True)
class Table:
    """`tools` are those of any of its runs: internet tools by name, then the local ones."""

    tools: tuple[str, ...]
    lines: tuple[Line, ...]


def run_table(runs: Sequence[Run], words: Words) -> Table:
    found = {
        (measurement.local, measurement.tool) for run in runs for measurement in run.measurements
    }
    tools = tuple(dict.fromkeys(tool for _, tool in sorted(found)))
    return Table(tools, tuple(_line(run, tools, words) for run in runs))


def _line(run: Run, tools: Sequence[str], words: Words) -> Line:
    by_tool = {measurement.tool: measurement for measurement in run.measurements}
    return Line(
        href=f"/runs/{run.id}",
        when=words.when(run.started_at),
        probe=run.probe,
        outcome_code=run.outcome,
        outcome=words.text(f"outcome.{run.outcome}"),
        figure=words.catalogue.mbps(run.download_mbps),
        ratio=words.catalogue.percent(run.ratio_of_subscribed),
        cells=tuple(_cell(by_tool.get(tool), words) for tool in tools),
        conditions=conditions(run.conditions, words),
    )


def _cell(measurement: Measurement | None, words: Words) -> Cell:
    if measurement is None:
        return Cell("", None)
    if measurement.failure is not None:
        return Cell("", words.text(f"failure.{measurement.failure.kind}"))
    return Cell(words.catalogue.mbps(measurement.download_mbps), None)


def conditions(found: Conditions, words: Words) -> str:
    parts = [words.text(f"medium.{found.medium}")]
    if found.cross_traffic_mbps:
        busy = words.catalogue.mbps(found.cross_traffic_mbps)
        parts.append(words.text("run.cross_traffic", mbps=busy))
    if found.cpu_percent is not None and found.cpu_percent >= 80:
        parts.append(words.text("run.cpu", percent=words.catalogue.number(found.cpu_percent)))
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Detail:
    tool: str
    version: str
    local: bool
    server: str
    failure: str | None
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Details:
    id: str
    title: str
    outcome_code: str
    outcome: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    measurements: tuple[Detail, ...]


def run_details(run: Run, words: Words) -> Details:
    found = run.conditions
    facts = [
        (words.text("header.probe"), run.probe),
        (words.text("run.observation"), _observation(run, words)),
        (words.text("run.conditions"), conditions(found, words)),
        (
            words.text("run.platform"),
            " ".join(p for p in (found.platform, found.probe_version) if p),
        ),
        (words.text("run.received"), words.when(run.received_at) if run.received_at else ""),
        (words.text("run.id"), run.id),
    ]
    return Details(
        id=run.id,
        title=words.text("run.title", when=words.when(run.started_at)),
        outcome_code=run.outcome,
        outcome=words.text(f"outcome.{run.outcome}"),
        reason=judgement(run.outcome_reason, words.catalogue),
        facts=tuple((name, value) for name, value in facts if value),
        measurements=tuple(_detail(measurement, words) for measurement in run.measurements),
    )


def _observation(run: Run, words: Words) -> str:
    if run.download_mbps is None:
        return ""
    mbps = words.catalogue.mbps(run.download_mbps)
    if run.plan is None or run.ratio_of_subscribed is None:
        return f"{mbps} {words.text('unit.mbps')}"
    return words.text(
        "breach.median",
        median=mbps,
        ratio=words.catalogue.percent(run.ratio_of_subscribed),
        subscribed=words.catalogue.plain(run.plan.download_mbps),
    )


def _detail(measurement: Measurement, words: Words) -> Detail:
    failure = None
    if measurement.failure is not None:
        kind = words.text(f"failure.{measurement.failure.kind}")
        failure = words.text("last.failed", kind=kind, message=measurement.failure.message)
    server = measurement.server
    named = [part for part in (server.name, server.location) if part] if server else []
    mbps = (measurement.download_mbps, measurement.upload_mbps)
    milliseconds = (
        measurement.latency_ms,
        measurement.jitter_ms,
        measurement.loaded_latency_down_ms,
        measurement.loaded_latency_up_ms,
    )
    none = words.text("tile.none")
    return Detail(
        tool=measurement.tool,
        version=measurement.tool_version or "",
        local=measurement.local,
        server=", ".join(named),
        failure=failure,
        figures=(
            *(words.catalogue.mbps(value) for value in mbps),
            *(none if ms is None else words.catalogue.number(ms, 1) for ms in milliseconds),
            words.catalogue.percent(measurement.packet_loss_ratio, 1),
        ),
    )
