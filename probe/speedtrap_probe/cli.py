"""The `probe` command. Reads the settings, puts the parts together, talks to the user."""

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from speedtrap_probe import display, reading, settings
from speedtrap_probe.errors import ProbeError, SettingsError
from speedtrap_probe.model import Run, to_json
from speedtrap_probe.outbox import Outbox, Rejected
from speedtrap_probe.schedule import interval
from speedtrap_probe.session import Session
from speedtrap_probe.stopping import Stop
from speedtrap_probe.submit import Delivery, Service
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover

DELIVER_EVERY_S = 60.0  # while a watch waits for its next round
IMPORT_CHUNK = 1000

app = typer.Typer(
    name="probe",
    help="Measures the line, keeps every run until the service has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Exit(IntEnum):
    """Exit codes."""

    GOOD = 0  # measured, and delivered or queued
    FAILED = 1  # every tool failed, or the run could not be kept
    USAGE = 2


Key = Annotated[
    str | None, typer.Option("--key", "-k", help="API key; without one only the CSV is written.")
]
Url = Annotated[str | None, typer.Option("--url", help="The service's address.")]
Tools = Annotated[list[str] | None, typer.Option("--tool", help="Only this tool; may be repeated.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Where the rows are appended.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only problems are printed.")]


@app.command()
def run(
    *,
    key: Key = None,
    url: Url = None,
    tool: Tools = None,
    csv: Csv = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measures once."""
    with _problems(), Stop() as stop:
        session = _with_tools(_session(key, url, csv), tool)
        measured, told, delivery = _round(session, stop, quiet or as_json)
        if as_json:
            typer.echo(json.dumps(_result(measured, told, delivery), indent=2))
        elif not quiet:
            display.out.print(display.table(measured))
            for line in display.failures(measured):
                display.out.print(line, markup=False, highlight=False)
        if not as_json:
            _tell(told, delivery, quiet)
    raise typer.Exit(Exit.FAILED if measured.failed else Exit.GOOD)


@app.command()
def watch(
    *,
    every: Annotated[str, typer.Option("--every", help="How often, e.g. 5h30m, 1h, 90s.")],
    jitter: Annotated[str, typer.Option("--jitter", help="Up to how much off, e.g. 10m.")] = "0s",
    key: Key = None,
    url: Url = None,
    tool: Tools = None,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Measures at once and then again and again, until Ctrl-C or SIGTERM."""
    with _problems(), suppress(KeyboardInterrupt), Stop() as stop:
        every_s, jitter_s = interval.seconds(every), interval.seconds(jitter)
        if every_s < 1 or jitter_s * 2 >= every_s:
            raise SettingsError("--every must be at least 1s, and more than twice --jitter")
        session = _with_tools(_session(key, url, csv), tool)
        rounds = interval.moments(_clock(), every_s, jitter_s, random.SystemRandom())
        for moment in rounds:
            if _clock() - moment > every_s:
                continue  # the machine slept: one round now, not all that were missed
            _wait_until(moment, session, quiet)
            measured, told, delivery = _round(session, stop, quiet)
            if not quiet:
                for measurement in measured.measurements:
                    display.out.print(display.summary(measurement), highlight=False)
            _tell(told, delivery, quiet)


@app.command()
def flush(*, key: Key = None, url: Url = None, quiet: Quiet = False) -> None:
    """Sends what waits in the outbox, and lists what the service rejected."""
    with _problems():
        session = _session(key, url)
        delivery = _deliver(session)
        _tell([], delivery, quiet)
        if session.outbox is not None and not quiet:
            for one in session.outbox.rejections():
                display.out.print(f"set aside: run {one.run.id}: {one.reason}", markup=False)
            if not delivery.waiting:
                display.out.print("The outbox is empty.")


@app.command()
def tools() -> None:
    """Lists the tools: can they run here, and if not, how to get them."""
    with _problems():
        session = _session(None, None)
        setup = Setup(session.settings.url, session.settings.options)
        shown = Table("tool", "measures", "usable", "version", "note")
        for name, one in discover().items():
            usable = one.usable(setup)
            shown.add_row(
                name,
                "internet line" if one.internet else "own network",
                "yes" if usable.ok else "no",
                usable.version or "-",
                usable.hint or "",
            )
        display.out.print(shown)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="OLD.csv", help="Our report, or the old one.")],
    *,
    key: Key = None,
    url: Url = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Of the old report, e.g. America/Denver.")
    ] = None,
) -> None:
    """Brings an old report.csv to the service. Importing twice stores once."""
    with _problems():
        zone = _zone(time_zone)
        session = _session(key, url)
        found = reading.read(path, session.settings.name, zone)
        for problem in found.problems:
            display.err.print(f"left out: {problem}", markup=False)
        outbox = session.outbox
        if outbox is None:
            raise SettingsError("import needs a key: give -k, or set SPEEDTRAP_PROBE_KEY")
        stored = 0
        rejected: list[Rejected] = []
        delivery = None
        # In pieces, so that a report of any length fits the outbox.
        for start in range(0, len(found.runs), IMPORT_CHUNK):
            outbox.put(found.runs[start : start + IMPORT_CHUNK])
            delivery = _deliver(session)
            stored += delivery.stored
            rejected += delivery.rejected
        display.out.print(f"{len(found.runs)} runs read from {path}", markup=False)
        if delivery is not None:
            _tell([], replace(delivery, stored=stored, rejected=rejected), quiet=False)


def main() -> None:
    """The `speedtrap-probe` command."""
    app()


def _session(key: str | None, url: str | None, csv: Path | None = None) -> Session:
    """A session that can deliver; `_with_tools` makes it one that can measure."""
    options = [option for one in discover().values() for option in one.options]
    told = settings.read(os.environ, options)
    if url is not None:
        told = replace(told, url=settings.checked_url("--url", url))
    told = replace(told, key=key or told.key, csv=csv or told.csv)
    if told.key is None:
        return Session(told)
    return Session(told, Outbox(told.outbox), Service(told.url, told.key, told.proxy))


def _with_tools(session: Session, names: list[str] | None) -> Session:
    """The chosen tools; without a choice those that can run here.

    A tool that nobody installed is not news each hour.
    """
    found = discover()
    chosen = _chosen(found, tuple(names or ()) or session.settings.tools)
    setup = Setup(session.settings.url, session.settings.options)
    usable = tuple(one for one in found.values() if not chosen and one.usable(setup).ok)
    return replace(session, tools=chosen or usable)


def _chosen(found: Mapping[str, Tool], names: tuple[str, ...]) -> tuple[Tool, ...]:
    for name in names:
        if name not in found:
            raise SettingsError(f"no tool {name!r}; there are: {', '.join(found)}")
    return tuple(found[name] for name in dict.fromkeys(names))


def _round(session: Session, stop: Stop, quiet: bool) -> tuple[Run, list[str], Delivery | None]:
    with display.progress(quiet) as (watcher, progress):
        measured = session.measure(watcher, progress)
    with stop.held():
        told = session.record(measured)
    return measured, told, session.deliver()


def _deliver(session: Session) -> Delivery:
    delivery = session.deliver()
    if delivery is None:
        raise SettingsError("a key is needed: give -k, or set SPEEDTRAP_PROBE_KEY")
    return delivery


def _tell(told: list[str], delivery: Delivery | None, quiet: bool) -> None:
    """Good news to stdout unless quiet; problems to stderr always."""
    for line in told:
        display.err.print(line, markup=False, highlight=False)
    if delivery is None:
        return
    troubled = delivery.problem is not None or bool(delivery.rejected)
    console = display.err if troubled else display.out
    if troubled or not quiet:
        for line in display.delivered(delivery):
            console.print(line, markup=False, highlight=False)


def _result(measured: Run, told: list[str], delivery: Delivery | None) -> dict[str, Any]:
    return {
        "run": to_json(measured),
        "stored": delivery.stored if delivery else 0,
        "waiting": delivery.waiting if delivery else 0,
        "rejected": [one.reason for one in delivery.rejected] if delivery else [],
        "problems": [*told, *([delivery.problem] if delivery and delivery.problem else [])],
    }


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"no time zone {name!r}: give an IANA name, e.g. Europe/Berlin"
        ) from error


def _wait_until(moment: float, session: Session, quiet: bool) -> None:
    while (left_s := moment - _clock()) > 0:
        time.sleep(min(left_s, DELIVER_EVERY_S))
        if left_s > DELIVER_EVERY_S and session.outbox is not None and len(session.outbox):
            _tell([], session.deliver(), quiet)


def _clock() -> float:
    """Seconds that never jump; where the system can, those in which it slept count too."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@contextmanager
def _problems() -> Iterator[None]:
    """A problem is a sentence on stderr and an exit code, never a traceback."""
    try:
        yield
    except SettingsError as error:
        display.err.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(Exit.USAGE) from error
    except ProbeError as error:
        display.err.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(Exit.FAILED) from error
