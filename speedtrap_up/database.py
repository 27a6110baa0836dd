"""The database of `speedtrap up` for a command: the one that runs, or its mongod for as long.

A restore that was interrupted keeps `speedtrap up` from starting: what mends it must not need it.
"""

import asyncio
from collections.abc import Callable, Mapping

from speedtrap_up.errors import AlreadyRunningError
from speedtrap_up.home import Home
from speedtrap_up.processes import mongod
from speedtrap_up.supervisor import Supervisor


def with_mongod(home: Home, environ: Mapping[str, str], work: Callable[[], None]) -> None:
    """Works while a mongod of *home* runs, and ends it again where it was started for this."""
    try:
        with home.held():
            asyncio.run(_started(home, environ, work))
    except AlreadyRunningError:
        work()


def is_there(home: Home) -> bool:
    return (home.folder / "mongo" / "db").exists()


async def _started(home: Home, environ: Mapping[str, str], work: Callable[[], None]) -> None:
    supervisor = Supervisor([mongod(home, environ)], home.folder / "logs", lambda *_: None)
    supervisor.attempts_to_start = 2
    working: list[asyncio.Future[None]] = []

    def begin() -> None:
        working.append(asyncio.ensure_future(asyncio.to_thread(work)))
        working[0].add_done_callback(lambda _: supervisor.stop())

    await supervisor.run(begin)
    await working[0]
