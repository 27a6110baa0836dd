"""What tests of the services read from and write to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase


@pytest.fixture
async def database(
    mongo_uri: str, database_name: str
) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """A fresh database of the session's mongod, without indexes."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_uri, tz_aware=True, uuidRepresentation="standard"
    )
    async with client:
        yield client[database_name]
