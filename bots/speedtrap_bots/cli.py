"""`speedtrap bots run` and `speedtrap notices`."""

import asyncio
import logging
from importlib.metadata import version
from typing import Annotated

import typer

from speedtrap_bots import logs
from speedtrap_bots.errors import BotsError
from speedtrap_bots.notices import notices_app
from speedtrap_bots.settings import LogSettings, SettingsError

log = logging.getLogger(__name__)

__all__ = ["app", "main", "notices_app"]

app = typer.Typer(
    help="Writes the complaint, waits for approval, and sends it once.",
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
    """Writes the complaint, waits for approval, and sends it once."""


@app.command()
def run(
    channel: Annotated[
        list[str] | None, typer.Option(help="Which channel to serve; repeatable. Default: all.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Do what can be done now, then end.")] = False,
) -> None:
    """Write a notice for every breach, and send those that may go out."""
    # Charts and X's client take seconds to load, which no other command should wait for.
    from speedtrap_bots.serve import read, serve  # noqa: PLC0415 - for that reason

    try:
        said = read(LogSettings)
        logs.set_up(said.log_format, said.log_level)
        asyncio.run(serve(channel or [], once=once))
    except SettingsError as error:
        _complain(str(error))
        raise typer.Exit(2) from error
    except BotsError as error:
        _complain(str(error))
        raise typer.Exit(1) from error


def _complain(message: str) -> None:
    if logs.in_json():
        log.critical(message)
    else:
        typer.echo(f"speedtrap bots: {message}", err=True)


def main() -> None:
    """The console script `speedtrap-bots`."""
    app()
