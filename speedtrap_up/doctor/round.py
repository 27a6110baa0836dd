"""The doctor's round: every look, in order, and its words."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from speedtrap_bots.channels.mail import MailSettings
from speedtrap_bots.channels.twitter import TwitterSettings
from speedtrap_bots.settings import SettingsError

from speedtrap_up.commands import store_settings
from speedtrap_up.doctor import looks
from speedtrap_up.doctor.checks import Finding, State, exit_code
from speedtrap_up.errors import UpError
from speedtrap_up.home import Home

_MARKS = {State.OK: "ok  ", State.WARN: "warn", State.BAD: "BAD "}


@dataclass(frozen=True, slots=True)
class Visit:
    """What to look at. Without a public address there is no name and no certificate to look at."""

    home: Home
    url: str | None
    time_server: str
    ca_file: Path | None = None


def visit(wanted: Visit, *, as_json: bool) -> int:
    """Prints what was found; the exit code."""
    found = []
    for finding in _round(wanted):
        found.append(finding)
        if not as_json:
            advice = f"\n               -> {finding.advice}" if finding.advice else ""
            typer.echo(f"{_MARKS[finding.state]}  {finding.what:<6}  {finding.text}{advice}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    return exit_code(found)


def _round(wanted: Visit) -> Iterator[Finding]:
    yield looks.keys(Path(os.environ.get("SPEEDTRAP_GRAPH_KEYS_FILE") or wanted.home.keys_file))
    server, _, port = wanted.time_server.partition(":")
    yield looks.clock(server, int(port) if port.isdigit() else 123)
    yield from _public(wanted)
    try:
        yield looks.database(store_settings(wanted.home, os.environ))
    except UpError as error:
        yield Finding("db", State.BAD, str(error), "speedtrap up")
    try:
        yield looks.mail(MailSettings())
        yield looks.x(TwitterSettings())
    except SettingsError as error:
        yield Finding("bots", State.BAD, str(error), "mend that setting")
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in wrong["loc"]) or error.title
        yield Finding("bots", State.BAD, f"{where}: {wrong['msg']}", "mend that setting")
    yield looks.disk(wanted.home.folder)


def _public(wanted: Visit) -> Iterator[Finding]:
    address = urlsplit(wanted.url or "")
    if not address.hostname:
        yield Finding("dns", State.OK, "no public address to look at; --url https://… names one")
        return
    yield looks.names(address.hostname)
    if address.scheme == "https":
        yield looks.certificate(address.hostname, address.port or 443, wanted.ca_file)
