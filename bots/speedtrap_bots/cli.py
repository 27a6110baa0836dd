"""`speedtrap bots run`: the composition root, and the only place here that reads settings."""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from speedtrap_bots.channel import Channel, kinds
from speedtrap_bots.errors import BotsError
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.notices import notices_app
from speedtrap_bots.settings import EnvironmentSettings, Settings, SettingsError
from speedtrap_bots.worker import Worker

_S = TypeVar("_S", bound=EnvironmentSettings)

__all__ = ["app", "main", "notices_app"]

app = typer.Typer(
    help="Writes the complaint, waits for leave, and sends it once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames show locals, and with them secrets
)


@app.callback()
def _bots() -> None:
    """Keeps `run` a command of its own."""


@app.command()
def run(
    channel: Annotated[
        list[str] | None, typer.Option(help="Which channel to serve; repeatable. Default: all.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Do what can be done now, then end.")] = False,
) -> None:
    """Write a notice for every breach, and send those that may go out."""
    logging.basicConfig(
        level=os.environ.get("SPEEDTRAP_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = read(Settings)
        asyncio.run(_serve(settings, open_channels(channel or []), once=once))
    except SettingsError as error:
        typer.echo(f"speedtrap bots: {error}", err=True)
        raise typer.Exit(2) from error
    except BotsError as error:
        typer.echo(f"speedtrap bots: {error}", err=True)
        raise typer.Exit(1) from error


def open_channels(names: list[str]) -> list[Channel]:
    """The named channels, or all, each with its own settings."""
    found = kinds()
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found))
            raise SettingsError(f"--channel {name}: there is no such channel; known: {known}")
    chosen = [kind for name, kind in sorted(found.items()) if not names or name in names]
    try:
        return [kind.open(read(kind.settings)) for kind in chosen]
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read(settings: type[_S]) -> _S:
    """*settings* from the environment, or an error that names each variable."""
    try:
        return settings()
    except ValidationError as error:
        problems = [
            f"{_variable(settings, str(problem['loc'][0]) if problem['loc'] else '')}:"
            f" {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(problems)) from None  # the original shows the values


def _variable(settings: type[EnvironmentSettings], field: str) -> str:
    if field.startswith("SPEEDTRAP_"):
        return field
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


async def _serve(settings: Settings, channels: list[Channel], *, once: bool) -> None:
    key = settings.key.get_secret_value() if settings.key else ""
    name = f"{socket.gethostname()}-{os.getpid()}"
    async with Ledger(settings.graph_url, key) as ledger:
        workers = [
            Worker(
                ledger,
                channel,
                name=name,
                poll_s=settings.poll_seconds,
                patrol_s=settings.patrol_seconds,
            )
            for channel in channels
        ]
        if once:
            for worker in workers:
                await worker.run_once()
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop_all, workers)
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.run())


def _stop_all(workers: list[Worker]) -> None:
    for worker in workers:
        worker.stop()


def main() -> None:
    """The console script `speedtrap-bots`."""
    app()
