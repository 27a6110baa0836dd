"""A service in its own process, or the services alone in this one; each on a fresh database."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from speedtrap_graph.store.database import Store, connect, prepare

from tests.lab.mongo import Mongod
from tests.lab.service import Service, running_service


@pytest.fixture
def service(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    with running_service(mongod, database_name, tmp_path) as running:
        yield running


@pytest.fixture
async def store(mongod: Mongod, database_name: str) -> AsyncIterator[Store]:
    opened = connect(mongod.uri, database_name)
    await prepare(opened)
    yield opened
    await opened.close()
