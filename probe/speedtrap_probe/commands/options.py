"""The options of several commands, and the session that they ask for."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from speedtrap_probe import logs, settings
from speedtrap_probe.errors import SettingsError
from speedtrap_probe.files.database import Database
from speedtrap_probe.files.outbox import Bounds, Outbox
from speedtrap_probe.files.state import State
from speedtrap_probe.service.submit import Service
from speedtrap_probe.session import Session
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover

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


def session_for(key: str | None, url: str | None, csv: Path | None = None) -> Session:
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


def with_tools(session: Session, names: list[str] | None) -> Session:
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
