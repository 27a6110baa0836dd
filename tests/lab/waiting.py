"""Patience for what tells no event: a list that a thread fills, a mark that a task sets."""

import asyncio
from collections.abc import Callable


async def until(is_so: Callable[[], bool], timeout_s: float = 60) -> None:
    """Returns once *is_so*; raises TimeoutError when that takes too long."""
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 - another task, thread or process does it
            await asyncio.sleep(0.02)
