"""The page in front of a real graph on a real mongod, empty or with two weeks of history."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.lab.browser import running_browser
from tests.lab.mongo import Mongod
from tests.lab.service import Service, make_service
from tests.web.lines import Line, attic, measured_service, porch, shed
from tests.web.serving import HereService
from tests.web.stages import Stage, all_stages, lived_in_service, trust


@pytest.fixture(scope="session")
def lived_in(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two weeks of hourly runs, an open breach and a complaint that waits. For reading only."""
    with lived_in_service(mongod, tmp_path_factory.mktemp("lived-in")) as service:
        yield service


@pytest.fixture(scope="session")
def lines() -> dict[str, Line]:
    """By the name of their probe."""
    return {line.probe: line for line in (attic(), porch(), shed())}


@pytest.fixture(scope="session")
def measured(
    mongod: Mongod, lines: dict[str, Line], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The page of *lines*. For reading only."""
    folder = tmp_path_factory.mktemp("measured")
    with measured_service(mongod, folder, lines.values()) as service:
        yield service


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not of the session: its event loop would be in the way of async tests."""
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def stages(
    mongod: Mongod, lived_in: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Stage]]:
    """By name. For reading only."""
    with all_stages(mongod, lived_in, tmp_path_factory.mktemp("stages")) as stages:
        yield stages


@pytest.fixture
def empty(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    """Nothing measured yet. A test may kill it."""
    settings = {"SPEEDTRAP_WEB_LIVE_EVERY_S": "1", **trust(tmp_path)}
    model = make_service(mongod, database_name, tmp_path, with_web=False, **settings)
    service = HereService(model.settings, model.keys, model.keys_file, model.log)
    service.start()
    try:
        yield service
    finally:
        service.stop()
