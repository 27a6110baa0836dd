"""The `probe` command. Reads the settings, puts the parts together, talks to the user."""

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from speedtrap_probe import display, logs, settings
from speedtrap_probe.clock import ticking_s
from speedtrap_probe.errors import ProbeError, SettingsError
from speedtrap_probe.files import lock, reading
from speedtrap_probe.files.database import Database
from speedtrap_probe.files.outbox import Bounds, Outbox
from speedtrap_probe.files.state import State
from speedtrap_probe.model import Run, to_json
from speedtrap_probe.plan import Plan
from speedtrap_probe.problems import Exit, problems
from speedtrap_probe.schedule import cli as scheduling
from speedtrap_probe.schedule import interval
from speedtrap_probe.service.backoff import Backoff
from speedtrap_probe.service.submit import Delivery, Service
from speedtrap_probe.session import Session
from speedtrap_probe.stopping import Stop
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover

WAITING_S = 60.0  # a watch that waits looks at its outbox and its clock this often
IMPORT_CHUNK = 1000
PROBLEMS_SHOWN = 50

app = typer.Typer(
    name="probe",
    help="Measures the line, keeps every run until the service has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


app.add_typer(scheduling.app, name="schedule")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-probe {version('speedtrap-probe')}")
        raise typer.Exit


@app.callback()
def _probe(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """Measures the line, keeps every run until the service has it."""


Key = Annotated[
    str | None, typer.Option("--key", "-k", help="API key; without one only the CSV is written.")
]
Url = Annotated[str | None, typer.Option("--url", help="The service's address.")]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        help="Only this tool; may be repeated.",
        autocompletion=lambda: list(discover()),
    ),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Where the rows are appended.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only problems are printed.")]


@dataclass(frozen=True, slots=True)
class Round:
    """A run and what became of it; `told` are things that people should know."""

    run: Run
    plan: Plan | None
    told: list[str]
    delivery: Delivery | None


@dataclass(frozen=True, slots=True)
class Aside:
    """There was no run, for another process measures this line."""

    why: str
    stuck: bool


@app.command()
def run(  # noqa: PLR0913 - each is an option of the command
    *,
    key: Key = None,
    url: Url = None,
    tool: Tools = None,
    csv: Csv = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and what it costs.")
    ] = False,
    delay: Annotated[
        str, typer.Option("--delay", help="Wait up to so long first, at random, e.g. 10m.")
    ] = "0s",
    again_in: Annotated[
        str | None, typer.Option("--again-in", help="Tell the service when the next run is due.")
    ] = None,
) -> None:
    """Measures once."""
    with problems(), Stop() as stop:
        delay_s = interval.seconds(delay)
        next_run_at = _after(interval.seconds(again_in)) if again_in else None
        session = _with_tools(_session(key, url, csv), tool)
        if dry_run:
            _rehearse(session)
            return
        time.sleep(random.SystemRandom().uniform(0, delay_s))
        done = _round(session, stop, quiet or as_json, next_run_at)
        if isinstance(done, Aside):
            raise typer.Exit(_stepped_aside(done, quiet))
        if as_json:
            typer.echo(json.dumps(_result(done), indent=2))
        elif not quiet:
            display.out.print(display.table(done.run, done.plan))
            for line in (*display.failures(done.run), *display.conditions(done.run)):
                display.out.print(line, markup=False, highlight=False)
        if not as_json:
            _tell(done.told, done.delivery, quiet)
        elif _is_rejected(done.delivery):  # stdout is a program's, and a person should know
            _tell([], done.delivery, quiet=True)
    _end(done.delivery, failed=done.run.failed)


@app.command()
def watch(
    *,
    every: Annotated[str, typer.Option("--every", help="How often, e.g. 5h30m, 1h, 90s.")],
    jitter: Annotated[
        str | None,
        typer.Option("--jitter", help="Up to how much off; else a tenth, at most 10m."),
    ] = None,
    key: Key = None,
    url: Url = None,
    tool: Tools = None,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Measures at once and then again and again, until Ctrl-C or SIGTERM."""
    with problems(), suppress(KeyboardInterrupt), Stop() as stop:
        every_s = interval.seconds(every)
        jitter_s = interval.jitter_s(jitter, every_s)
        if every_s < 1 or jitter_s * 2 >= every_s:
            raise SettingsError("--every must be at least 1s, and more than twice --jitter")
        session = _with_tools(_session(key, url, csv), tool)
        backoff = Backoff()
        for moment in interval.moments(ticking_s(), every_s, jitter_s, random.SystemRandom()):
            if ticking_s() - moment > every_s:
                continue  # the machine slept: one round now, not all that were missed
            _wait_until(moment, session, backoff, quiet)
            _watched(session, stop, quiet, _after(every_s + jitter_s))


def _watched(session: Session, stop: Stop, quiet: bool, next_run_at: datetime) -> None:
    """One round of many: where it cannot be kept, the next one may be."""
    try:
        done = _round(session, stop, quiet, next_run_at)
    except SettingsError:
        raise
    except ProbeError as error:
        display.complain(str(error), style="red")
        return
    if isinstance(done, Aside):
        _stepped_aside(done, quiet)
        return
    if not quiet:
        for measurement in done.run.measurements:
            display.tell(measurement, done.run.id)
    _tell(done.told, done.delivery, quiet)


@app.command()
def flush(
    *,
    key: Key = None,
    url: Url = None,
    quiet: Quiet = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="First queue again what the service had rejected.")
    ] = False,
) -> None:
    """Sends what waits in the outbox, and lists what the service rejected."""
    with problems():
        session = _session(key, url)
        if retry and session.outbox is not None:
            session.outbox.retry()
        delivery = _deliver(session)
        _tell([], delivery, quiet)
        if session.outbox is not None and not quiet:
            for one in session.outbox.set_aside():
                display.out.print(f"set aside: run {one.id}: {one.reason}", markup=False)
            if not delivery.waiting:
                display.out.print("The outbox is empty.")
    _end(delivery)


@app.command()
def tools() -> None:
    """Lists the tools: can they run here, and if not, how to get them."""
    with problems():
        session = _session(None, None)
        setup = Setup(session.settings.url, session.settings.options)
        shown, notes = Table("tool", "measures", "usable", "version"), []
        for name, one in discover().items():
            usable = one.usable(setup)
            shown.add_row(
                name,
                "internet line" if one.internet else "own network",
                "yes" if usable.ok else "no",
                usable.version or "-",
            )
            if usable.hint:
                notes.append(f"{name}: {usable.hint}")
        display.out.print(shown)
        for note in notes:  # below and not in the table, so that what they name can be copied
            display.out.print(note, soft_wrap=True, markup=False, highlight=False)


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
    with problems():
        zone = _zone(time_zone)
        session = _session(key, url)
        found = _read(path, session.settings.name, zone)
        if session.outbox is None:
            raise SettingsError("import needs a key: give -k, or set SPEEDTRAP_PROBE_KEY")
        earlier = session.state.imported(found.runs)
        delivery = _bring(session, session.outbox, found.runs)
        display.out.print(f"{len(found.runs)} runs read from {path}", markup=False)
        for line in (*found.notes, *display.moved(found.runs, earlier, delivery)):
            display.say(line)
        if not delivery.waiting:
            session.state.remember_imported(found.runs)
        _tell([], delivery, quiet=False)
    _end(delivery)


def _read(path: Path, probe: str, zone: ZoneInfo | None) -> reading.Reading:
    """Names the lines that make no sense; raises ProbeError when none does."""
    found = reading.read(path, probe, zone)
    for problem in found.problems[:PROBLEMS_SHOWN]:
        display.complain(f"left out: {problem}")
    if len(found.problems) > PROBLEMS_SHOWN:
        display.complain(f"left out: {len(found.problems) - PROBLEMS_SHOWN:,} lines more")
    if not found.runs:
        raise ProbeError(f"no run could be read from {path}: {reading.EXPECTED}")
    return found


def _bring(session: Session, outbox: Outbox, runs: Sequence[Run]) -> Delivery:
    """In pieces, so that a report of any length fits the outbox."""
    delivery = Delivery(0, 0)
    for start in range(0, len(runs), IMPORT_CHUNK):
        outbox.put(runs[start : start + IMPORT_CHUNK])
        latest = _deliver(session)
        delivery = replace(
            latest,
            stored=delivery.stored + latest.stored,
            rejected=[*delivery.rejected, *latest.rejected],
            before=[*delivery.before, *latest.before],
        )
    return delivery


def main() -> None:
    """The `speedtrap-probe` command."""
    app()


def _session(key: str | None, url: str | None, csv: Path | None = None) -> Session:
    """A session that can deliver; `_with_tools` makes it one that can measure."""
    options = [option for one in discover().values() for option in one.options]
    said = settings.read_logs(os.environ, options)
    logs.set_up(said.form, said.level)
    told = settings.read(os.environ, options)
    if url is not None:
        told = replace(told, url=settings.checked_url("--url", url))
    told = replace(told, key=key or told.key, csv=csv or told.csv)
    database = Database(told.outbox, told.csv)
    session = Session(told, State(database))
    if told.key is None:
        return session
    outbox = Outbox(database, Bounds(told.outbox_bytes, told.outbox_age_s))
    return replace(session, outbox=outbox, service=Service(told.url, told.key, told.proxy))


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


def _round(
    session: Session, stop: Stop, quiet: bool, next_run_at: datetime | None
) -> Round | Aside:
    """Measures, keeps and delivers, unless another process measures this line now."""
    with ExitStack() as held:
        told = []
        try:
            if not held.enter_context(lock.alone(session.settings.lock, session.longest_s)):
                return _aside(session.settings.lock)
        except ProbeError as error:  # a full disk is no reason not to measure
            told.append(str(error))
        awake = session.wake(next_run_at)
        told += [awake.problem] if awake.problem else []
        with display.progress(quiet) as (watcher, progress):
            measured = session.measure(watcher, progress, awake)
        with stop.held():
            told += session.record(measured)
    return Round(measured, awake.plan, told, session.deliver(next_run_at))


def _aside(path: Path) -> Aside:
    """Who measures, since when, and what to do if it should have ended long ago."""
    found, now = lock.holder(path), datetime.now(UTC)
    if found is None:
        return Aside("Another run measures this line now: this one steps aside.", stuck=False)
    age = interval.words(found.age(now).total_seconds())
    who = f"process {found.pid}, since {age}"
    if not found.stuck(now):
        return Aside(f"Another run measures this line now ({who}): this one steps aside.", False)
    longest = interval.words(found.within_s)
    why = (
        f"Another run is stuck ({who}; a run takes {longest} at most): nothing is measured until "
        f"it ends. If process {found.pid} is a speedtrap probe, end it."
    )
    return Aside(why, stuck=True)


def _stepped_aside(aside: Aside, quiet: bool) -> Exit:
    if aside.stuck:
        display.complain(aside.why)
        return Exit.STUCK
    if not quiet:
        display.say(aside.why)
    return Exit.ASIDE


def _rehearse(session: Session) -> None:
    """What a run would do."""
    told = session.settings
    awake = session.wake()
    budget = session.budget(awake.plan)
    for line in display.rehearsal(told, session.tools, budget):
        display.out.print(line, markup=False, highlight=False)


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _deliver(session: Session) -> Delivery:
    delivery = session.deliver()
    if delivery is None:
        raise SettingsError("a key is needed: give -k, or set SPEEDTRAP_PROBE_KEY")
    return delivery


def _tell(told: list[str], delivery: Delivery | None, quiet: bool) -> None:
    """Good news to stdout unless quiet; problems to stderr always."""
    for line in told:
        display.complain(line)
    if delivery is None:
        return
    troubled = delivery.problem is not None or bool(delivery.rejected)
    voice = display.complain if troubled else display.say
    if troubled or not quiet:
        for line in display.delivered(delivery):
            voice(line)


def _is_rejected(delivery: Delivery | None) -> bool:
    return delivery is not None and bool(delivery.rejected)


def _end(delivery: Delivery | None, *, failed: bool = False) -> NoReturn:
    ends = {
        Exit.NOT_KEPT: delivery is not None and delivery.unusable,
        Exit.FAILED: failed,
        Exit.REJECTED: _is_rejected(delivery),
    }
    raise typer.Exit(next((code for code, so in ends.items() if so), Exit.GOOD))


def _result(done: Round) -> dict[str, Any]:
    delivery = done.delivery
    problems = [*done.told, *([delivery.problem] if delivery and delivery.problem else [])]
    return {
        "run": to_json(done.run),
        "stored": delivery.stored if delivery else 0,
        "waiting": delivery.waiting if delivery else 0,
        "rejected": [one.reason for one in delivery.rejected] if delivery else [],
        "problems": problems,
    }


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"no time zone {name!r}: give an IANA name, e.g. Europe/Berlin"
        ) from error


def _wait_until(
    moment: float,
    session: Session,
    backoff: Backoff,
    quiet: bool,
    ticking: Callable[[], float] = ticking_s,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Meanwhile what waits in the outbox is tried again, less and less often."""
    try_at = ticking() + backoff.failed()
    while (left_s := moment - ticking()) > 0:
        sleep(min(left_s, WAITING_S, max(1.0, try_at - ticking())))
        if ticking() < try_at or ticking() >= moment:
            continue
        if not _anything_waits(session):
            try_at = ticking() + WAITING_S
            continue
        delivery = session.deliver(_after(moment - ticking()))
        _tell([], delivery, quiet)
        if delivery is None or delivery.problem is None:
            backoff.succeeded()
        try_at = ticking() + backoff.failed()
    backoff.succeeded()


def _anything_waits(session: Session) -> bool:
    try:
        return session.outbox is not None and len(session.outbox) > 0
    except ProbeError:
        return False  # it was told when the run was recorded
