"""The lab's browser: no step and no end of it can hold a test for ever."""

import contextlib
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.lab.browser import reader, running_browser
from tests.lab.steps import StepTimeoutError, deadlines

pytestmark = pytest.mark.browser

NEVER = "new Promise(() => {})"


@contextlib.contextmanager
def all_gone(within_s: float = 30) -> Iterator[set[psutil.Process]]:
    """Whatever process is put into the set has ended soon after the block."""
    processes: set[psutil.Process] = set()
    yield processes
    give_up = time.monotonic() + within_s
    while alive := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < give_up, alive
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_step_that_the_browser_never_answers_fails_and_the_next_one_works() -> None:
    with running_browser() as browser, reader(browser) as page:
        with deadlines(0.5, 20), pytest.raises(StepTimeoutError, match=r"evaluate.* 0\.5 s"):
            page.evaluate(NEVER)
        assert page.evaluate("1 + 1") == 2


@pytest.mark.parametrize("who", ["the browser", "the driver"])
def test_a_browser_that_hangs_ends_with_the_block(who: str) -> None:
    mine = psutil.Process()
    before = set(mine.children(recursive=True))
    with (
        all_gone() as gone,
        deadlines(60, 1),
        running_browser() as browser,
        reader(browser) as page,
    ):
        page.goto("about:blank")
        gone.update(set(mine.children(recursive=True)) - before)
        drivers = {process for process in gone if process.ppid() == mine.pid}
        assert drivers
        for process in drivers if who == "the driver" else gone - drivers:
            process.suspend()


def test_a_step_under_way_when_its_browser_dies_fails_at_once() -> None:
    mine = psutil.Process()
    before = set(mine.children(recursive=True))
    with all_gone() as gone, running_browser() as browser:
        page = browser.new_page()
        gone.update(set(mine.children(recursive=True)) - before)
        for process in gone:
            if process.ppid() != mine.pid:
                process.kill()
        with pytest.raises(Exception, match="closed"):
            page.evaluate(NEVER)
