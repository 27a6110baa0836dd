"""`speedtrap-graph`: serves the API."""

import logging
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvicorn
from pydantic import ValidationError

from speedtrap_graph import commands, descriptors, logs
from speedtrap_graph.api.schema import SCHEMA
from speedtrap_graph.app import create_app
from speedtrap_graph.exporters import configured
from speedtrap_graph.gc_tuning import look_seldom
from speedtrap_graph.http.callers import KeyFile, KeyFileError
from speedtrap_graph.http.patience import PatientHttpBehindGateway
from speedtrap_graph.http.socket import MOST_MESSAGE_BYTES, PatientSocket
from speedtrap_graph.settings import GraphSettings, LogSettings, StoreSettings
from speedtrap_graph.store.database import Store

S = TypeVar("S")
_log = logging.getLogger(__name__)
BackupFile = Annotated[Path, typer.Argument(help=commands.FILE_HELP)]
Replace = Annotated[bool, typer.Option("--replace", help=commands.REPLACE_HELP)]

app = typer.Typer(help="The GraphQL service.", no_args_is_help=True)
probes_app = typer.Typer(help=commands.PROBES_HELP, no_args_is_help=True)
app.add_typer(probes_app, name="probes")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-graph {version('speedtrap-graph')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """The GraphQL service."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serves /graphql, /export/…, /metrics and the health pages, as SPEEDTRAP_GRAPH_* says."""
    said = _settings(LogSettings)
    logs.set_up(said.log_format, said.log_level)
    settings = _settings(GraphSettings)
    _settings(configured)
    _check_keys(settings.keys_file)
    _check_database(settings)
    look_seldom()
    descriptors.raise_limit()
    uvicorn.run(
        create_app(settings),
        host=host or settings.host,
        port=settings.port if port is None else port,
        http=PatientHttpBehindGateway,
        ws=PatientSocket,
        # Events are short, and to pack them took a tenth of the time of telling them.
        ws_per_message_deflate=False,
        ws_max_size=min(settings.max_body_bytes, MOST_MESSAGE_BYTES),
        ws_ping_interval=settings.socket_patience_s,
        ws_ping_timeout=settings.socket_patience_s,
        server_header=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.longest_stop_s,
    )


@app.command()
def backup(file: BackupFile) -> None:
    """Writes everything into one file, as it is at this moment, while the service goes on."""
    commands.say_backup(_settings(StoreSettings), file)


@app.command()
def restore(file: BackupFile, *, replace: Replace = False) -> None:
    """Puts a backup into an empty database. Start the service again afterwards."""
    commands.say_restore(_settings(StoreSettings), file, replace=replace)


@app.command()
def shard() -> None:
    """Spreads what grows with the probes over a cluster's shards. The URI must lead to a mongos."""
    commands.say_shard(_settings(StoreSettings))


@probes_app.command("export")
def probes_export(name: commands.ProbeName, to: commands.ExportFile) -> None:
    """Writes everything of one probe into one zip, while the service goes on."""
    commands.say_probe_export(_settings(StoreSettings), name, to)


@probes_app.command("delete")
def probes_delete(name: commands.ProbeName, reason: commands.Reason) -> None:
    """Takes a probe out with everything of it. There is no way back but a backup."""
    commands.say_probe_deletion(_settings(StoreSettings), name, reason)


@app.command()
def schema() -> None:
    """Prints the schema (graph/schema.graphql is this output)."""
    sys.stdout.write(SCHEMA.as_str() + "\n")


def _settings(read: Callable[[], S]) -> S:
    try:
        return read()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(step) for step in problem["loc"]).upper()
            named = f"SPEEDTRAP_GRAPH_{name}: " if name else ""
            _complain(f"{named}{problem['msg'].removeprefix('Value error, ')}")
        raise typer.Exit(2) from None


def _check_keys(path: Path | None) -> None:
    if path is None:
        return
    try:
        KeyFile(path).check()
    except OSError as error:
        _complain(f"the key file {path} cannot be read: {error.strerror}")
        raise typer.Exit(2) from None
    except KeyFileError as error:
        _complain(f"the key file {path}: {error}")
        raise typer.Exit(2) from None


def _check_database(settings: GraphSettings) -> None:
    try:
        commands.with_store(settings, Store.ping)
    except commands.CareError as error:
        _complain(str(error))
        raise typer.Exit(1) from None


def _complain(message: str) -> None:
    if logs.in_json():
        _log.critical(message)
    else:
        typer.echo(f"speedtrap-graph: {message}", err=True)


def main() -> None:
    try:
        app()
    except commands.CareError as error:
        _complain(str(error))
        sys.exit(1)
