"""What people see: progress while it runs, a table at the end."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from speedtrap_probe import logs
from speedtrap_probe.budget import Budget, size
from speedtrap_probe.model import Measurement, Medium, Run
from speedtrap_probe.plan import Plan
from speedtrap_probe.run import Watcher
from speedtrap_probe.service.submit import Delivery
from speedtrap_probe.settings import Settings
from speedtrap_probe.tool import Progress, Tool, silent

HEADINGS = ("down Mbps", "up Mbps", "latency ms", "jitter ms", "loaded ms", "of plan")
NOTICEABLE_MBPS = 1.0
BUSY_PERCENT = 90.0
NOTICEABLE_WAIT_PERCENT = 10.0

out = Console()
err = Console(stderr=True)
log = logging.getLogger("speedtrap_probe")


def say(line: str, **facts: object) -> None:
    """Good news: words on the standard output, or a record with *facts*."""
    if logs.in_json():
        log.info(line, extra=facts)
    else:
        out.print(line, markup=False, highlight=False)


def complain(line: str, style: str | None = None) -> None:
    """What a person should know of: words on the standard error, or a record."""
    if logs.in_json():
        log.warning(line)
    else:
        err.print(line, style=style, markup=False, highlight=False)


def tell(measurement: Measurement, run_id: UUID) -> None:
    """What one tool measured."""
    facts: dict[str, object] = {"run_id": run_id, "tool": measurement.tool}
    if measurement.failure is not None:
        facts["failure"] = measurement.failure.kind
    given = asdict(measurement.figures)
    facts |= {name: value for name, value in given.items() if isinstance(value, int | float)}
    say(summary(measurement), **facts)


@contextmanager
def progress(quiet: bool) -> Iterator[tuple[Watcher, Progress]]:
    """Live Mbps on a terminal; nothing anywhere else."""
    if quiet or logs.in_json() or not err.is_terminal:
        yield Watcher(), silent
        return
    with err.status("looking at the line…") as status:
        current = ""

        def started(tool: str) -> None:
            nonlocal current
            current = tool
            status.update(f"{tool}…")

        def moved(phase: str, mbps: float) -> None:
            status.update(f"{current} {phase} {mbps:,.1f} Mbps" if mbps else f"{current} {phase}…")

        def measured(measurement: Measurement) -> None:
            err.print(f"[dim]{escape(summary(measurement))}[/dim]", highlight=False)

        yield Watcher(started, measured), moved


def summary(measurement: Measurement) -> str:
    """One measurement in a line."""
    if measurement.failure is not None:
        return f"{measurement.tool}: {measurement.failure.message}"
    figures = measurement.figures
    return f"{measurement.tool}: {_number(figures.download_mbps)} Mbps down, " + (
        f"{_number(figures.upload_mbps)} Mbps up, {_number(figures.latency_ms)} ms"
    )


def table(run: Run, plan: Plan | None = None) -> Table:
    """The run, a row a tool. What was not measured is a dash."""
    shown = Table(title=f"{escape(run.probe)}, {run.started_at.astimezone():%Y-%m-%d %H:%M}")
    shown.add_column("tool")
    for heading in HEADINGS if plan else HEADINGS[:-1]:
        shown.add_column(heading, justify="right")
    for measurement in run.measurements:
        figures = measurement.figures
        loaded = [figures.loaded_latency_down_ms, figures.loaded_latency_up_ms]
        cells = [
            _number(figures.download_mbps),
            _number(figures.upload_mbps),
            _number(figures.latency_ms),
            _number(figures.jitter_ms),
            _number(max((ms for ms in loaded if ms is not None), default=None)),
        ]
        if plan:
            cells.append(_share(figures.download_mbps, plan))
        shown.add_row(escape(measurement.tool), *cells)
    return shown


def conditions(run: Run) -> Iterator[str]:
    """What may have spoilt the figures, in sentences."""
    seen = run.conditions
    if seen.line_up is False:
        yield "The connectivity check failed: the line is down."
    if seen.medium is Medium.WIFI:
        rate = f" at {seen.link_mbps:,.0f} Mbps" if seen.link_mbps else ""
        yield f"Measured over Wi-Fi{rate}: a cable measures the line itself."
    if seen.cross_traffic_mbps and seen.cross_traffic_mbps >= NOTICEABLE_MBPS:
        yield f"This machine moved {seen.cross_traffic_mbps:,.1f} Mbps of other traffic."
    if seen.cpu_percent and seen.cpu_percent >= BUSY_PERCENT:
        yield f"The processors were {seen.cpu_percent:.0f} % busy."
    if seen.cpu_wait_percent and seen.cpu_wait_percent >= NOTICEABLE_WAIT_PERCENT:
        yield (
            f"For {seen.cpu_wait_percent:.0f} % of the time the probe waited for a processor: "
            "a quota, or other programs."
        )
    if seen.vpn:
        yield "Measured through a VPN."
    if seen.on_battery:
        yield "Measured on battery."
    yield from seen.notes


def failures(run: Run) -> Iterator[str]:
    """Why a tool has a dash."""
    for measurement in run.measurements:
        if measurement.failure is not None:
            failure = measurement.failure
            yield f"{measurement.tool}: {failure.kind}: {failure.message}"


def rehearsal(settings: Settings, tools: Iterable[Tool], budget: Budget) -> Iterator[str]:
    """What a run would do and cost."""
    names = [tool.name for tool in tools]
    yield f"Would measure as {settings.name} with: {', '.join(names) or 'no tool'}"
    yield f"It costs about {size(budget.run_bytes)}; {size(budget.spent_bytes)} used this month" + (
        f" of {size(budget.limit_bytes)}" if budget.limit_bytes is not None else ""
    )
    if budget.exhausted:
        yield f"Internet tools that do not fit would be skipped: {budget.exhausted}"
    yield f"Rows would go to {settings.csv}"
    yield (
        f"The run would go to {settings.url}"
        if settings.key
        else "Without a key the run would go to the CSV only"
    )


def moved(
    runs: Iterable[Run], earlier: Mapping[UUID, datetime], delivery: Delivery
) -> Iterator[str]:
    """What an import changed that had been made before, with another time zone."""
    by = {
        run.id: (run.started_at - earlier[run.id]).total_seconds() / 3600
        for run in runs
        if run.id in earlier and run.started_at != earlier[run.id]
    }
    before = set(delivery.before)
    gone = [hours for id_, hours in by.items() if id_ not in before]
    if gone and not delivery.waiting:
        least, most = min(gone), max(gone)
        span = f"{least:+g} h" if least == most else f"{least:+g} to {most:+g} h"
        yield f"{_runs(len(gone))} had been imported with another time zone: moved by {span}"
    if stayed := len(by) - len(gone):
        yield f"{_runs(stayed)} stay where an import with another time zone had put them"


def delivered(delivery: Delivery) -> Iterator[str]:
    """What became of the runs, in sentences."""
    if delivery.stored:
        yield f"delivered: {_runs(delivery.stored)}"
    for one in delivery.rejected:
        yield f"rejected by the service, set aside: run {one.run.id}: {one.reason}"
    if delivery.rejected:
        yield "What is set aside is kept: `flush` lists it, `flush --retry` sends it once more"
    if delivery.problem:
        yield delivery.problem
    if delivery.waiting:
        wait = "waits" if delivery.waiting == 1 else "wait"
        yield f"{_runs(delivery.waiting)} {wait} in the outbox and will be sent with the next"


def _share(mbps: float | None, plan: Plan) -> str:
    return "-" if mbps is None else f"{100 * mbps / plan.download_mbps:,.0f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
