"""`watch`: measures again and again."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from speedtrap_probe import display
from speedtrap_probe.clock import ticking_s
from speedtrap_probe.commands.endings import tell
from speedtrap_probe.commands.options import Csv, Key, Quiet, Tools, Url, session_for, with_tools
from speedtrap_probe.commands.round import Aside, make_round, stepped_aside
from speedtrap_probe.errors import ProbeError, SettingsError
from speedtrap_probe.problems import problems
from speedtrap_probe.schedule import interval
from speedtrap_probe.service.backoff import Backoff
from speedtrap_probe.session import Session
from speedtrap_probe.stopping import Stop

WAITING_S = 60.0  # a watch that waits looks at its outbox and its clock this often


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
        session = with_tools(session_for(key, url, csv), tool)
        backoff = Backoff()
        for moment in interval.moments(ticking_s(), every_s, jitter_s, random.SystemRandom()):
            if ticking_s() - moment > every_s:
                continue  # the machine slept: one round now, not all that were missed
            _wait_until(moment, session, backoff, quiet)
            _watched(session, stop, quiet, _after(every_s + jitter_s))


def _watched(session: Session, stop: Stop, quiet: bool, next_run_at: datetime) -> None:
    """One round of many: where it cannot be kept, the next one may be."""
    try:
        done = make_round(session, stop, quiet, next_run_at)
    except SettingsError:
        raise
    except ProbeError as error:
        display.complain(str(error), style="red")
        return
    if isinstance(done, Aside):
        stepped_aside(done, quiet)
        return
    if not quiet:
        for measurement in done.run.measurements:
            display.tell(measurement, done.run.id)
    tell(done.told, done.delivery, quiet)


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
        tell([], delivery, quiet)
        if delivery is None or delivery.problem is None:
            backoff.succeeded()
        try_at = ticking() + backoff.failed()
    backoff.succeeded()


def _anything_waits(session: Session) -> bool:
    try:
        return session.outbox is not None and len(session.outbox) > 0
    except ProbeError:
        return False  # it was told when the run was recorded


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
