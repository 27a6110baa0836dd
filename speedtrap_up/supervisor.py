"""Keeps the parts running: starts them in order, restarts what dies, stops them in reverse."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from speedtrap_up.errors import UpError
from speedtrap_up.logfile import LogFile

Say = Callable[[str, str], None]
"""Receives a part's name and one line for the terminal."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A part that ran this long before it died starts again without much of a pause."""
ATTEMPTS_TO_START = 6
"""So often a part may die before it was ever ready; with the pauses this is about half a minute,
longer than a mongod that lost its supervisor needs to let go of the data folder."""
USAGE = 2
"""The exit code of a part whose settings are wrong: trying again would not help."""
LONGEST_LINE = 1 << 16

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. Secrets are named by file in `environment`, never in `argv`."""

    argv: list[str]
    environment: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()


async def _at_once() -> None:
    """For parts that are ready as soon as they run."""


@dataclass(slots=True)
class Part:
    """One child. `command` is asked before every start, since a port may have changed."""

    name: str
    command: Callable[[], Command]
    ready: Callable[[], Awaitable[None]] = _at_once
    quiet: bool = False
    """Its lines go to its log only, not to the terminal."""
    stop_timeout_s: float = 15.0
    advice: str = ""
    """What to do where it does not start at all."""

    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    was_ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=8), init=False)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def end(self) -> None:
        """Asks it to stop; the supervisor starts it again unless it is stopping itself."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()


class Supervisor:
    """Runs until `stop` is set, or until a part cannot be brought up at all."""

    def __init__(self, parts: list[Part], logs: Path, say: Say) -> None:
        self._parts = parts
        self._logs = logs
        self._say = say
        self.attempts_to_start = ATTEMPTS_TO_START
        self._stopping = asyncio.Event()
        self._reaper: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        self._stopping.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Returns when everything has stopped; raises UpError when a part does not come up."""
        reaper = asyncio.create_task(self._keep_reaper())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            for part in self._parts:
                task = asyncio.create_task(self._keep(part))
                self._tasks.append(task)
                up = asyncio.create_task(part.was_ready.wait())
                await asyncio.wait({task, up, stopping}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                if task.done():
                    task.result()
                if stopping.done():
                    return
            on_ready()
            done, _ = await asyncio.wait(
                {stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in self._tasks:
                if task in done:
                    task.result()
        finally:
            self._stopping.set()
            await self._stop_parts()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            stopping.cancel()
            reaper.cancel()
            await asyncio.gather(reaper, stopping, return_exceptions=True)

    async def _keep(self, part: Part) -> None:
        pause_s, attempts = FIRST_PAUSE_S, 0
        while not self._stopping.is_set():
            started = time.monotonic()
            why = await self._run_once(part)
            if self._stopping.is_set():
                return
            attempts += 1
            hopeless = why == f"exit {USAGE}"
            if hopeless or (not part.was_ready.is_set() and attempts >= self.attempts_to_start):
                raise UpError(
                    f"{part.name} does not start: {why}. {part.advice}"
                    f"The end of {self._log(part)}:\n" + "\n".join(part.last_lines)
                )
            if time.monotonic() - started > STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._say("up", f"{part.name} ended ({why}); starting it again in {pause_s:g} s")
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _run_once(self, part: Part) -> str:
        """Starts a part, waits for its end and says in words how it ended."""
        try:
            process, pump = await self._start(part)
        except UpError as error:
            return str(error)
        ready = asyncio.create_task(self._announce(part))
        code = await process.wait()
        self._tell_reaper("-", process.pid)
        _end_group(process.pid)
        ready.cancel()
        # What it said last is on its way through the pipe.
        await asyncio.wait({pump}, timeout=1)
        pump.cancel()
        await asyncio.gather(pump, ready, return_exceptions=True)
        return f"signal {-code}" if code < 0 else f"exit {code}"

    async def _start(self, part: Part) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        command = part.command()
        # A pipe of our own: asyncio's would make wait() last as long as any grandchild holds it.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                env=dict(command.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                # Its own group: Ctrl-C reaches the supervisor alone, which stops in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
                pass_fds=command.pass_fds,
            )
        except OSError as error:
            os.close(reading)
            raise UpError(f"cannot be executed: {error}") from error
        finally:
            os.close(writing)
        part.process = process
        self._tell_reaper("+", process.pid)
        return process, asyncio.create_task(self._pump(part, reading))

    async def _announce(self, part: Part) -> None:
        try:
            await part.ready()
        except UpError as error:
            self._say("up", f"{part.name}: {error}")
            part.end()
        else:
            part.was_ready.set()

    async def _pump(self, part: Part, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        try:
            with LogFile(self._log(part)) as log:
                while line := await _line(reader):
                    text = line.decode("utf-8", "replace").rstrip()
                    log.write(text)
                    part.last_lines.append(text)
                    if not part.quiet:
                        self._say(part.name, text)
        finally:
            transport.close()

    async def _stop_parts(self) -> None:
        """In reverse: those who speak to a part stop before it does."""
        for part in reversed(self._parts):
            process = part.process
            if process is None or process.returncode is not None:
                continue
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), part.stop_timeout_s)
            except TimeoutError:
                self._say("up", f"{part.name} did not stop within {part.stop_timeout_s:g} s")
                process.kill()
                await process.wait()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _keep_reaper(self) -> None:
        """The reaper may be killed too; a new one learns whom to end."""
        while True:
            self._reaper = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(Path(__file__).with_name("reaper.py")),
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,
                # It has no use for our settings, and some of them are secrets.
                env={name: v for name, v in os.environ.items() if "SPEEDTRAP" not in name},
            )
            for part in self._parts:
                if part.process is not None and part.process.returncode is None:
                    self._tell_reaper("+", part.process.pid)
            try:
                await self._reaper.wait()
            except asyncio.CancelledError:
                if self._reaper.stdin is not None:
                    self._reaper.stdin.close()
                await self._reaper.wait()
                raise
            await asyncio.sleep(FIRST_PAUSE_S)

    def _tell_reaper(self, sign: str, group: int) -> None:
        reaper = self._reaper
        if reaper is not None and reaper.returncode is None and reaper.stdin is not None:
            reaper.stdin.write(f"{sign}{group}\n".encode())

    def _log(self, part: Part) -> Path:
        return self._logs / f"{part.name}.log"


async def _line(reader: asyncio.StreamReader) -> bytes:
    """One line, or a piece of one that is too long; empty at the end."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        return await reader.read(LONGEST_LINE)


def _end_group(group: int) -> None:
    """What a part started and left behind (a measuring tool) ends with it."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _die_with_parent(supervisor: int) -> Callable[[], None] | None:
    """On Linux the kernel itself tells a child that its supervisor is gone."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def ask_the_kernel() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:  # it died between fork and prctl
            os._exit(1)

    return ask_the_kernel if sys.platform == "linux" else None
