"""`speedtrap bots run` and `speedtrap notices`."""

import asyncio
import logging
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from speedtrap_bots.errors import BotsError
from speedtrap_bots.notices import notices_app
from speedtrap_bots.settings import SettingsError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

__all__ = ["app", "main", "notices_app"]

app = typer.Typer(
    help="Writes the complaint, waits for leave, and sends it once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames show locals, and with them secrets
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-bots {version('speedtrap-bots')}")
        raise typer.Exit


@app.callback()
def _bots(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """Writes the complaint, waits for leave, and sends it once."""


@app.command()
def run(
    channel: Annotated[
        list[str] | None, typer.Option(help="Which channel to serve; repeatable. Default: all.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Do what can be done now, then end.")] = False,
) -> None:
    """Write a notice for every breach, and send those that may go out."""
    # Charts and X's client take seconds to load, which no other command should wait for.
    from speedtrap_bots.serve import serve  # noqa: PLC0415 - for that reason

    try:
        _configure_logging(os.environ.get("SPEEDTRAP_LOG_LEVEL") or "INFO")
        asyncio.run(serve(channel or [], once=once))
    except SettingsError as error:
        typer.echo(f"speedtrap bots: {error}", err=True)
        raise typer.Exit(2) from error
    except BotsError as error:
        typer.echo(f"speedtrap bots: {error}", err=True)
        raise typer.Exit(1) from error


def _configure_logging(level: str) -> None:
    if level.upper() not in LOG_LEVELS:
        raise SettingsError(f"SPEEDTRAP_LOG_LEVEL: must be one of {', '.join(LOG_LEVELS)}")
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every poll


def main() -> None:
    """The console script `speedtrap-bots`."""
    app()
