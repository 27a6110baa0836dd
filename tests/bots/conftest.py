"""Real servers for the bots: SMTP and X on loopback; and the bots, loaded once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bots.road import Road, a_road
from tests.lab.mongo import Mongod, free_port
from tests.lab.nursery import Nursery, a_nursery
from tests.lab.smtp import SmtpServer, smtp_server
from tests.lab.x_api import XApi, x_api


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpServer]:
    with smtp_server(tmp_path, free_port()) as server:
        yield server


@pytest.fixture
def x(tmp_path: Path) -> Iterator[XApi]:
    with x_api(tmp_path, free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with a_nursery(tmp_path_factory.mktemp("bots")) as started:
        yield started


@pytest.fixture
def road(mongod: Mongod, database_name: str, tmp_path: Path, nursery: Nursery) -> Iterator[Road]:
    with a_road(mongod, database_name, tmp_path, nursery) as made:
        yield made
