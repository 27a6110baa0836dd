"""The page in front of a real graph on a real mongod, empty or with two weeks of history."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, make_service, running_service
from tests.web.history import plan_a_notice, submit_two_weeks
from tests.web.serving import HereService


@pytest.fixture(scope="session")
def lived_in(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two weeks of hourly runs, an open breach and a complaint that waits. For reading only."""
    folder = tmp_path_factory.mktemp("lived-in")
    with (
        fresh_database(mongod) as name,
        running_service(mongod, name, folder, with_web=True) as service,
    ):
        submit_two_weeks(service)
        plan_a_notice(service)
        yield service


@pytest.fixture
def empty(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    """Nothing measured yet. A test may kill it."""
    model = make_service(mongod, database_name, tmp_path, SPEEDTRAP_WEB_LIVE_EVERY_S="1")
    service = HereService(model.settings, model.keys, model.keys_file, model.log)
    service.start()
    try:
        yield service
    finally:
        service.stop()
