"""`flush` and `import`: runs that were measured before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from speedtrap_probe import display
from speedtrap_probe.commands.endings import delivered, end, tell
from speedtrap_probe.commands.options import Key, Quiet, Url, session_for
from speedtrap_probe.errors import ProbeError, SettingsError
from speedtrap_probe.files import reading
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.model import Run
from speedtrap_probe.problems import problems
from speedtrap_probe.service.submit import Delivery
from speedtrap_probe.session import Session

IMPORT_CHUNK = 1000
PROBLEMS_SHOWN = 50


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
        session = session_for(key, url)
        if retry and session.outbox is not None:
            session.outbox.retry()
        delivery = delivered(session)
        tell([], delivery, quiet)
        if session.outbox is not None and not quiet:
            for one in session.outbox.set_aside():
                display.out.print(f"set aside: run {one.id}: {one.reason}", markup=False)
            if not delivery.waiting:
                display.out.print("The outbox is empty.")
    end(delivery)


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
        session = session_for(key, url)
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
        tell([], delivery, quiet=False)
    end(delivery)


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
        latest = delivered(session)
        delivery = replace(
            latest,
            stored=delivery.stored + latest.stored,
            rejected=[*delivery.rejected, *latest.rejected],
            before=[*delivery.before, *latest.before],
        )
    return delivery


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"no time zone {name!r}: give an IANA name, e.g. Europe/Berlin"
        ) from error
