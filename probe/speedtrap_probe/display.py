"""What people see: progress while it runs, a table at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from speedtrap_probe.model import Measurement, Run
from speedtrap_probe.run import Watcher
from speedtrap_probe.submit import Delivery
from speedtrap_probe.tool import Progress, silent

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(quiet: bool) -> Iterator[tuple[Watcher, Progress]]:
    """Live Mbps on a terminal; nothing anywhere else."""
    if quiet or not err.is_terminal:
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
            err.print(f"[dim]{summary(measurement)}[/dim]", highlight=False)

        yield Watcher(started, measured), moved


def summary(measurement: Measurement) -> str:
    """One measurement in a line."""
    if measurement.failure is not None:
        return escape(f"{measurement.tool}: {measurement.failure.message}")
    figures = measurement.figures
    return f"{measurement.tool}: {_number(figures.download_mbps)} Mbps down, " + (
        f"{_number(figures.upload_mbps)} Mbps up, {_number(figures.latency_ms)} ms"
    )


def table(run: Run) -> Table:
    """The run, a row a tool. What was not measured is a dash."""
    shown = Table(title=f"{escape(run.probe)}, {run.started_at.astimezone():%Y-%m-%d %H:%M}")
    shown.add_column("tool")
    for heading in ("down Mbps", "up Mbps", "latency ms", "jitter ms"):
        shown.add_column(heading, justify="right")
    for measurement in run.measurements:
        figures = measurement.figures
        shown.add_row(
            escape(measurement.tool),
            _number(figures.download_mbps),
            _number(figures.upload_mbps),
            _number(figures.latency_ms),
            _number(figures.jitter_ms),
        )
    return shown


def failures(run: Run) -> Iterator[str]:
    """Why a tool has a dash."""
    for measurement in run.measurements:
        if measurement.failure is not None:
            failure = measurement.failure
            yield f"{measurement.tool}: {failure.kind}: {failure.message}"


def delivered(delivery: Delivery) -> Iterator[str]:
    """What became of the runs, in sentences."""
    if delivery.stored:
        yield f"delivered: {_runs(delivery.stored)}"
    for one in delivery.rejected:
        yield f"rejected by the service, set aside: run {one.run.id}: {one.reason}"
    if delivery.problem:
        yield delivery.problem
    if delivery.waiting:
        yield f"{_runs(delivery.waiting)} wait in the outbox and will be sent with the next"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
