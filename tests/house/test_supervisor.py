"""The supervisor with small real processes as its parts."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from speedtrap_up.errors import UpError
from speedtrap_up.supervisor import Command, Part, Supervisor

SLEEPER = "import time; print('hello', flush=True); time.sleep(600)"


def a_part(name: str, code: str = SLEEPER) -> Part:
    return Part(name, lambda: Command([sys.executable, "-c", code], dict(os.environ)))


class Terminal:
    """What the person would see."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, part: str, line: str) -> None:
        self.lines.append((part, line))

    def text(self) -> str:
        return "\n".join(f"{part}| {line}" for part, line in self.lines)


async def until(what: Callable[[], object]) -> None:
    while not what():  # noqa: ASYNC110 - processes and files have no event to wait for
        await asyncio.sleep(0.02)


async def test_a_part_that_is_killed_comes_back(tmp_path: Path) -> None:
    part, terminal = a_part("sleeper"), Terminal()
    supervisor = Supervisor([part], tmp_path, terminal.say)
    running = asyncio.create_task(supervisor.run(on_ready=lambda: None))
    await until(lambda: ("sleeper", "hello") in terminal.lines)
    assert part.process is not None
    first = part.process.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: terminal.lines.count(("sleeper", "hello")) == 2)
    assert part.process.pid != first
    assert "sleeper ended (signal 9); starting it again in 0.5 s" in terminal.text()
    supervisor.stop()
    await running
    assert not psutil.pid_exists(part.process.pid)
    assert (tmp_path / "sleeper.log").read_text() == "hello\nhello\n"


async def test_parts_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        "import signal, sys, time\n"
        f"file = open({str(told)!r}, 'a', buffering=1)\n"
        "def end(*_): print('end', sys.argv[1], file=file); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('start', sys.argv[1], file=file)\n"
        "time.sleep(600)\n"
    )

    def recorded(name: str) -> Part:
        async def ready() -> None:
            await until(lambda: told.exists() and f"start {name}" in told.read_text())

        argv = [sys.executable, "-c", code, name]
        return Part(name, lambda: Command(argv, dict(os.environ)), ready)

    supervisor = Supervisor([recorded("first"), recorded("second")], tmp_path, Terminal().say)
    await supervisor.run(on_ready=supervisor.stop)
    assert told.read_text().split("\n") == [
        "start first",
        "start second",
        "end second",
        "end first",
        "",
    ]


async def test_a_part_that_never_gets_ready_ends_the_start_with_its_last_words(
    tmp_path: Path, terminal: Terminal
) -> None:
    part = a_part("broken", "import sys; sys.exit('the setting FOO is missing')")

    async def never() -> None:
        await asyncio.Event().wait()

    part.ready = never
    supervisor = Supervisor([part], tmp_path, terminal.say)
    supervisor.attempts_to_start = 2
    with pytest.raises(UpError) as raised:
        await supervisor.run(on_ready=lambda: None)
    assert "broken does not start: exit 1" in str(raised.value)
    assert "the setting FOO is missing" in str(raised.value)


async def test_wrong_settings_end_the_start_at_once(tmp_path: Path, terminal: Terminal) -> None:
    part = a_part("bots", "import sys; print('MAIL_TLS: must be starttls'); sys.exit(2)")
    supervisor = Supervisor([a_part("first"), part], tmp_path, terminal.say)
    with pytest.raises(UpError, match=r"bots does not start: exit 2(.|\n)*MAIL_TLS: must be"):
        await supervisor.run(on_ready=lambda: None)
    assert "starting it again" not in terminal.text()


async def test_a_part_that_ignores_the_request_to_stop_is_killed(
    tmp_path: Path, terminal: Terminal
) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\n"
    part = a_part("deaf", code + "while True: time.sleep(600)")
    part.stop_timeout_s = 0.2
    supervisor = Supervisor([part], tmp_path, terminal.say)
    running = asyncio.create_task(supervisor.run(on_ready=lambda: None))
    await until(lambda: ("deaf", "deaf") in terminal.lines)
    supervisor.stop()
    await running
    assert part.process is not None
    assert part.process.returncode == -signal.SIGKILL
    assert "deaf did not stop within 0.2 s" in terminal.text()


async def test_what_a_part_started_ends_with_it(tmp_path: Path, terminal: Terminal) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"
    part = a_part("parent", code)
    supervisor = Supervisor([part], tmp_path, terminal.say)
    running = asyncio.create_task(supervisor.run(on_ready=lambda: None))
    await until(lambda: ("parent", "hello") in terminal.lines)
    assert part.process is not None
    (grandchild,) = psutil.Process(part.process.pid).children()
    part.process.kill()
    await until(lambda: not grandchild.is_running() or grandchild.status() == "zombie")
    supervisor.stop()
    await running


async def test_the_keeper_ends_every_group_when_its_supervisor_is_gone() -> None:
    reaper = Path(sys.modules["speedtrap_up"].__path__[0]) / "reaper.py"
    orphan = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL
    )
    spared = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL
    )
    said = f"+{orphan.pid}\n+{spared.pid}\n-{spared.pid}\n"
    kept = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(reaper), stdin=subprocess.PIPE
    )
    await kept.communicate(said.encode())
    assert await orphan.wait() == -signal.SIGTERM
    assert spared.returncode is None
    spared.kill()
    await spared.wait()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()
