"""Lets asyncio finish what it closes in its next turns, before the test's loop is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio


@pytest_asyncio.fixture(autouse=True)
async def closed_sockets() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0.02)
