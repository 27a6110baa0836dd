"""What every suite may use: a real mongod for the session and a fresh database for each test."""

import zoneinfo
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.lab.mongo import Mongod, fresh_database, running_mongod

# As the services have it: the zones of tzdata, not those of the machine.
zoneinfo.reset_tzpath(to=())

# A busy machine is slow, and nothing is wrong with that.
settings.register_profile("speedtrap", deadline=None)
settings.load_profile("speedtrap")


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """Shared by the whole session: do not kill it; start your own with `running_mongod`."""
    with running_mongod(tmp_path_factory.mktemp("mongod")) as server:
        yield server


@pytest.fixture
def mongo_uri(mongod: Mongod) -> str:
    return mongod.uri


@pytest.fixture
def database_name(mongod: Mongod) -> Iterator[str]:
    with fresh_database(mongod) as name:
        yield name
