"""`speedtrap-graph`: serves the API."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError
from pymongo.errors import PyMongoError

from speedtrap_graph.api.schema import SCHEMA
from speedtrap_graph.app import create_app, open_store
from speedtrap_graph.callers import KeyFile, KeyFileError
from speedtrap_graph.settings import GraphSettings
from speedtrap_graph.socket import PatientSocket

app = typer.Typer(help="The GraphQL service.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """The GraphQL service."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serves /graphql, /healthz and /readyz, with the settings of SPEEDTRAP_GRAPH_*."""
    settings = _settings()
    _check_keys(settings.keys_file)
    _check_database(settings)
    uvicorn.run(
        create_app(settings),
        host=host or settings.host,
        port=settings.port if port is None else port,
        ws=PatientSocket,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=settings.socket_patience_s,
        ws_ping_timeout=settings.socket_patience_s,
        server_header=False,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


@app.command()
def schema() -> None:
    """Prints the schema (graph/schema.graphql is this output)."""
    sys.stdout.write(SCHEMA.as_str() + "\n")


def _settings() -> GraphSettings:
    try:
        return GraphSettings()
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
    async def ping() -> None:
        store = open_store(settings)
        try:
            await store.ping()
        finally:
            await store.close()

    try:
        asyncio.run(ping())
    except ConnectionError as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    except PyMongoError:
        # The driver's own message may show the URI, and with it a password.
        _complain("MongoDB does not answer at SPEEDTRAP_GRAPH_MONGODB_URI, or refuses the login")
        raise typer.Exit(1) from None


def _complain(message: str) -> None:
    typer.echo(f"speedtrap-graph: {message}", err=True)


def main() -> None:
    app()
