"""`run`: measures once."""

import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from speedtrap_probe import display
from speedtrap_probe.commands.endings import end, is_rejected, tell
from speedtrap_probe.commands.options import Csv, Key, Quiet, Tools, Url, session_for, with_tools
from speedtrap_probe.commands.round import Aside, Round, make_round, rehearse, stepped_aside
from speedtrap_probe.model import to_json
from speedtrap_probe.problems import problems
from speedtrap_probe.schedule import interval
from speedtrap_probe.stopping import Stop


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
        session = with_tools(session_for(key, url, csv), tool)
        if dry_run:
            rehearse(session)
            return
        time.sleep(random.SystemRandom().uniform(0, delay_s))
        done = make_round(session, stop, quiet or as_json, next_run_at)
        if isinstance(done, Aside):
            raise typer.Exit(stepped_aside(done, quiet))
        if as_json:
            typer.echo(json.dumps(_result(done), indent=2))
        elif not quiet:
            display.out.print(display.table(done.run, done.plan))
            for line in (*display.failures(done.run), *display.conditions(done.run)):
                display.out.print(line, markup=False, highlight=False)
        if not as_json:
            tell(done.told, done.delivery, quiet)
        elif is_rejected(done.delivery):  # stdout is a program's, and a person should know
            tell([], done.delivery, quiet=True)
    end(done.delivery, failed=done.run.failed)


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


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
