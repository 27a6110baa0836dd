"""Deadlines for a browser: for each step of Playwright's, and for the end of its processes.

Playwright bounds some steps itself (30 s for `goto` and `click`), but neither `evaluate` nor any
`close`, and a `close` that Chromium never answers would hold a test for ever.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import greenlet
import psutil
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deadlines:
    """Longer than Playwright's own, and so short that three of them fit into a test's time-out."""

    step_s: float = 60.0
    close_s: float = 20.0


USUAL = Deadlines()
_DEADLINES: ContextVar[Deadlines] = ContextVar("deadlines", default=USUAL)


class StepTimeoutError(Exception):
    """A step that the browser never answered."""


@contextlib.contextmanager
def deadlines(step_s: float, close_s: float) -> Iterator[None]:
    """For the steps inside the block."""
    token = _DEADLINES.set(Deadlines(step_s, close_s))
    try:
        yield
    finally:
        _DEADLINES.reset(token)


@contextlib.contextmanager
def running_playwright() -> Iterator[Playwright]:
    """With deadlines; when it does not start or end in time, its processes are killed."""
    before = set(psutil.Process().children())

    def drivers() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child not in before]

    with _killed_after(_DEADLINES.get().step_s, drivers):
        playwright = sync_playwright().start()
    started = drivers()
    playwright._loop.set_task_factory(_Steps(playwright._dispatcher_fiber))
    try:
        yield playwright
    finally:
        with _killed_after(_DEADLINES.get().close_s, lambda: started):
            playwright.stop()


def close(what: Page | BrowserContext | Browser) -> bool:
    """Whether it closed in time. If not, it is left to what holds it, at last to `kill`."""
    bounds = _DEADLINES.get()
    try:
        with deadlines(bounds.close_s, bounds.close_s):
            what.close()
    except StepTimeoutError as error:
        log.warning("%s", error)
        return False
    return True


def kill(processes: Iterable[psutil.Process]) -> None:
    """Each with everything that it started."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (*process.children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


class _Steps:
    """A task factory: what is called from outside Playwright's own greenlet is a step of a test."""

    def __init__(self, dispatcher: greenlet.greenlet) -> None:
        self._dispatcher = dispatcher

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Any, /, **options: Any
    ) -> asyncio.Task[Any]:
        if greenlet.getcurrent() is not self._dispatcher:
            coro = _in_time(coro, _DEADLINES.get().step_s)
        return asyncio.Task(coro, loop=loop, **options)


async def _in_time(step: Coroutine[Any, Any, Any], limit_s: float) -> Any:
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await step
    except TimeoutError:
        if not limit.expired():
            raise
        name = getattr(step, "__qualname__", "a step")
        raise StepTimeoutError(f"{name} gave no answer within {limit_s:g} s") from None


@contextlib.contextmanager
def _killed_after(
    limit_s: float, processes: Callable[[], Iterable[psutil.Process]]
) -> Iterator[None]:
    """Kills the processes when the block lasts longer: then whoever waits for them goes on."""
    killer = threading.Timer(limit_s, lambda: kill(processes()))
    killer.daemon = True
    killer.start()
    try:
        yield
    finally:
        killer.cancel()
