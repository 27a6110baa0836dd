"""Builds the bots from their settings and runs them. Only this reads settings."""

import asyncio
import os
import signal
import socket
import zoneinfo
from typing import TypeVar

from pydantic import ValidationError

from speedtrap_bots.channel import Channel, kinds
from speedtrap_bots.delivery.worker import Worker
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.letter import Templates
from speedtrap_bots.settings import EnvironmentSettings, Settings, SettingsError

_S = TypeVar("_S", bound=EnvironmentSettings)


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


async def serve(names: list[str], *, once: bool) -> None:
    """Runs the named channels, or all, until SIGTERM or Ctrl-C; or does what can be done now."""
    # The table of time zones that graph judges by: tzdata's, not whatever this machine has.
    zoneinfo.reset_tzpath(to=())
    settings = read(Settings)
    Templates.folder = settings.templates
    channels = open_channels(names)
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
                retry_ladder_s=settings.retry_ladder_s,
                look_again_s=settings.look_again_seconds,
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
