"""`speedtrap-web serve`, and `speedtrap web serve`."""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import typer
import uvicorn
from pydantic import ValidationError

from speedtrap_web import logs
from speedtrap_web.app import create_app
from speedtrap_web.graphql.client import load_operations
from speedtrap_web.settings import LogSettings, WebSettings

S = TypeVar("S")
_log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, help="The page: are you getting what you pay for?")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-web {version('speedtrap-web')}")
        raise typer.Exit


@app.callback()
def web(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """The page: are you getting what you pay for?"""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
) -> None:
    """Serve the page. Settings: SPEEDTRAP_WEB_GRAPH_URL, _KEY, _SESSION_SECRET, _HOST, _PORT."""
    given: dict[str, Any] = {"host": host, "port": port}
    said = _settings(LogSettings)
    logs.set_up(said.log_format, said.log_level)
    settings = _settings(
        lambda: WebSettings(**{name: value for name, value in given.items() if value is not None})
    )
    _raise_limit_of_connections()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # a shared report's token is part of its path
    )


@app.command()
def documents() -> None:
    """Print the page's documents by SHA-256, for SPEEDTRAP_GRAPH_TRUSTED_DOCUMENTS."""
    texts = [operation.document for operation in load_operations().values()]
    by_digest = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    typer.echo(json.dumps(by_digest, indent=1, sort_keys=True))


def _raise_limit_of_connections() -> None:
    """To what the system allows: the usual 1,024 are soon taken by those who only wait."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - does not exist on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Where there is no limit, macOS refuses all the same.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settings(read: Callable[[], S]) -> S:
    try:
        return read()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            named = f"SPEEDTRAP_WEB_{name}: " if name else ""
            _complain(f"{named}{problem['msg'].removeprefix('Value error, ')}")
        raise typer.Exit(2) from None


def _complain(message: str) -> None:
    if logs.in_json():
        _log.critical(message)
    else:
        typer.echo(f"speedtrap-web: {message}", err=True)


def main() -> None:
    app()
