"""Which parts there are on one machine, in the order in which they start, and what each is told."""

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from speedtrap_graph import embedded

from speedtrap_up import logs
from speedtrap_up.errors import UpError
from speedtrap_up.home import Home, usable
from speedtrap_up.supervisor import Command, Part

READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """What the person who started it asked for."""

    home: Home
    address: str
    """Where the parts reach the service: http://127.0.0.1:<port>"""
    listening: socket.socket
    every: str
    probe: bool
    probe_name: str
    environ: Mapping[str, str]
    logs: logs.LogSettings


def parts(process_options: ProcessOptions) -> list[Part]:
    """mongod (unless the person has one), the service, the bots, the probe."""
    service = _service(process_options)
    chosen = [service, _bots(process_options)]
    if process_options.probe:
        chosen.append(_probe(process_options))
    if not process_options.environ.get("SPEEDTRAP_GRAPH_MONGODB_URI"):
        chosen.insert(0, mongod(process_options.home, process_options.environ, service.end))
    return chosen


def mongod(
    home: Home, environ: Mapping[str, str], moved: Callable[[], None] = lambda: None
) -> Part:
    """The private mongod; `moved` is called when it got another port."""
    current = _prepare(home, environ)
    try:
        embedded.check_libraries(current.executable)
    except embedded.EmbeddedError as error:
        raise UpError(str(error)) from error

    def command() -> Command:
        nonlocal current
        before, current = current, _prepare(home, environ)
        if current.port != before.port:
            moved()
        return Command(current.argv, _without_settings(environ))

    async def ready() -> None:
        try:
            with usable(home.folder / "mongo"):
                await asyncio.to_thread(embedded.settle, current, lambda: part.alive)
        except embedded.EmbeddedError as error:
            raise UpError(str(error)) from error

    advice = embedded.what_to_do(home.folder / "mongo") + ". "
    part = Part("mongod", command, ready, quiet=True, stop_timeout_s=30, advice=advice)
    return part


def _prepare(home: Home, environ: Mapping[str, str]) -> embedded.Mongod:
    folder = home.folder / "mongo"
    try:
        with usable(folder):
            return embedded.prepare(folder, environ)
    except embedded.EmbeddedError as error:
        raise UpError(str(error)) from error


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("SPEEDTRAP_")}


def _service(process_options: ProcessOptions) -> Part:
    home = process_options.home
    descriptor = process_options.listening.fileno()

    def command() -> Command:
        told = {
            "SPEEDTRAP_GRAPH_KEYS_FILE": str(home.keys_file),
            "SPEEDTRAP_WEB_GRAPH_URL": process_options.address,
            "SPEEDTRAP_WEB_KEY_FILE": str(home.key("web")),
            "SPEEDTRAP_WEB_SESSION_SECRET_FILE": str(home.session_secret),
            "SPEEDTRAP_WEB_ENDED_SESSIONS_FILE": str(home.ended_sessions),
        }
        if not process_options.environ.get("SPEEDTRAP_GRAPH_MONGODB_URI"):
            access = embedded.access(home.folder / "mongo")
            told |= {
                "SPEEDTRAP_GRAPH_MONGODB_URI": access.uri,
                "SPEEDTRAP_GRAPH_MONGODB_USERNAME": access.username,
                "SPEEDTRAP_GRAPH_MONGODB_PASSWORD_FILE": str(access.password_file),
            }
        argv = _python("speedtrap_up.service", "--fd", str(descriptor))
        return Command(argv, _environment(process_options, "GRAPH", "WEB", **told), (descriptor,))

    async def ready() -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while loop.time() < deadline:
                try:
                    if (
                        await client.get(f"{process_options.address}/readyz")
                    ).status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        raise UpError(f"does not get ready within {READY_WITHIN_S:g} s")

    return Part("service", command, ready)


def _bots(process_options: ProcessOptions) -> Part:
    told = {
        "SPEEDTRAP_BOTS_GRAPH_URL": process_options.address,
        "SPEEDTRAP_BOTS_KEY_FILE": str(process_options.home.key("bots")),
    }
    argv = _python("speedtrap", "bots", "run")
    return Part("bots", lambda: Command(argv, _environment(process_options, "BOTS", **told)))


def _probe(process_options: ProcessOptions) -> Part:
    home = process_options.home
    told = {
        "SPEEDTRAP_PROBE_URL": process_options.address,
        "SPEEDTRAP_PROBE_KEY_FILE": str(home.key("probe")),
        "SPEEDTRAP_PROBE_NAME": process_options.probe_name,
        "SPEEDTRAP_PROBE_DATA_DIR": str(home.folder / "probe"),
        "SPEEDTRAP_PROBE_CSV": str(home.report),
    }
    argv = _python("speedtrap", "probe", "watch", "--every", process_options.every)
    return Part("probe", lambda: Command(argv, _environment(process_options, "PROBE", **told)))


def _python(module: str, *arguments: str) -> list[str]:
    # -P: whatever lies in the current folder must not be mistaken for a module of ours.
    return [sys.executable, "-P", "-m", module, *arguments]


def _environment(process_options: ProcessOptions, *services: str, **told: str) -> dict[str, str]:
    """The machine's environment, with the settings of this part and of no other."""
    own = tuple(f"SPEEDTRAP_{service}_" for service in services)
    kept = {
        name: value
        for name, value in process_options.environ.items()
        if not name.startswith("SPEEDTRAP_") or (own and name.startswith(own))
    }
    for name in told:
        # A file that we name and a value that the person set would contradict each other.
        kept.pop(name.removesuffix("_FILE"), None)
    asked: dict[str, str] = {}
    for service in services:
        asked |= process_options.logs.settings(service)
    return asked | kept | told | {"PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
