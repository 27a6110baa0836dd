"""A service in its own process on a fresh database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mongo import Mongod
from tests.lab.service import Service, running_service


@pytest.fixture
def service(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    with running_service(mongod, database_name, tmp_path) as running:
        yield running
