"""The page in front of a real graph on a real mongod, empty or with two weeks of history."""

from collections.abc import Iterator

import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service
from tests.web.history import plan_a_notice, submit_two_weeks


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
def empty(
    mongod: Mongod, database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Nothing measured yet."""
    folder = tmp_path_factory.mktemp("empty")
    with running_service(
        mongod, database_name, folder, with_web=True, SPEEDTRAP_WEB_LIVE_EVERY_S="1"
    ) as service:
        yield service
