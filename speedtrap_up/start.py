"""`speedtrap up`: holds the folder and the port, starts the parts, says how to go on."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from speedtrap_graph import descriptors
from speedtrap_graph.http import keyfile

from speedtrap_up.errors import UpError
from speedtrap_up.home import Home
from speedtrap_up.logs import LogSettings, Terminal
from speedtrap_up.processes import ProcessOptions, parts
from speedtrap_up.supervisor import Supervisor

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What the command line said."""

    home: Home
    host: str
    port: int
    every: str
    probe: bool

    @property
    def address(self) -> str:
        """Where this machine itself reaches the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def start(options: StartOptions, environ: Mapping[str, str]) -> None:
    """Returns when everything has stopped again; says why and exits where it cannot start."""
    log_settings = LogSettings.of(environ)
    terminal = log_settings.terminal()
    try:
        _start(options, environ, log_settings, terminal)
    except (UpError, keyfile.KeyFileError) as error:
        terminal.fail(str(error))
        raise typer.Exit(1) from None
    terminal.tell("speedtrap has stopped.")


def _start(
    options: StartOptions, environ: Mapping[str, str], log_settings: LogSettings, terminal: Terminal
) -> None:
    home = options.home
    home.make()
    # Its parts inherit it.
    descriptors.raise_limit()
    with home.held(options.address), _listen(options.host, options.port) as listening:
        name = home.probe_name(environ.get("SPEEDTRAP_PROBE_NAME"))
        for line in home.ensure_keys(name):
            terminal.tell(line)
        process_options = ProcessOptions(
            home,
            options.address,
            listening,
            options.every,
            options.probe,
            name,
            environ,
            log_settings,
        )
        supervisor = Supervisor(parts(process_options), home.folder / "logs", terminal.say)
        folder = str(home.folder)
        terminal.tell(f"speedtrap starts; its data is in {folder}", data_dir=folder)
        asyncio.run(_run(supervisor, options, terminal))


async def _run(supervisor: Supervisor, options: StartOptions, terminal: Terminal) -> None:
    loop = asyncio.get_running_loop()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run(on_ready=lambda: _welcome(options, terminal))


def _welcome(options: StartOptions, terminal: Terminal) -> None:
    home, address, command = options.home, options.address, _command()
    reach = (
        "Only this machine can open it; --host 0.0.0.0 lets your network in."
        if options.host in LOOPBACK
        else f"It listens on {options.host}: whoever can reach this machine can see the page."
    )
    at_length = (
        f"\n  The page    {address}/\n"
        f"  To log in   open {address}/login and enter the key in {home.key('admin')}\n"
        f"  Keys        {home.keys_file} ({command} keys list)\n"
        f"  Runs        {home.report}, a table for any spreadsheet\n"
        f"  Your plan   on the page, or: {command} plan set --provider NAME --download MBPS\n\n"
        f"  {reach}\n"
        "  Nothing is sent to anybody until you switch a channel on. Ctrl-C stops everything.\n"
    )
    terminal.tell(
        f"speedtrap is ready at {address}/",
        at_length,
        url=f"{address}/",
        admin_key_file=str(home.key("admin")),
        report=str(home.report),
    )


def _command() -> str:
    """How this program is called from here: after `make up` it is not on the PATH."""
    own = Path(sys.executable).with_name("speedtrap")
    if shutil.which("speedtrap") or not own.exists():
        return "speedtrap"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except socket.gaierror as error:
        raise UpError(f"--host: {host!r} is not an address of this machine") from error
    except PermissionError as error:
        raise UpError(f"--port: {port} needs more rights than you have; try --port 8080") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        other = port + 1 if port < 65535 else 8080
        raise UpError(
            f"--port: {port} on {host} cannot be used ({why}). "
            f"Choose another: speedtrap up --port {other}"
        ) from error
