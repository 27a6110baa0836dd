"""What tests of the services read from and write to."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from speedtrap_graph.store.database import Row, Store, connect, prepare

from tests.lab.mongo import Mongod, fresh_database


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


@dataclass
class Prepared:
    """A database of the session, and what it holds of itself: by collection, as first prepared."""

    name: str
    rows: dict[str, list[Row]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def prepared(mongod: Mongod) -> Iterator[Prepared]:
    with fresh_database(mongod) as name:
        yield Prepared(name)


@pytest.fixture
async def store(mongod: Mongod, prepared: Prepared) -> AsyncIterator[Store]:
    """As a fresh one; but making collections and their indexes takes longer than most tests."""
    opened = connect(mongod.uri, prepared.name)
    present = await opened.database.list_collection_names()
    # Before the test and not after it: nothing depends on how the one before has ended.
    await asyncio.gather(*(_as_prepared(opened, name, prepared) for name in present))
    await prepare(opened)
    if not prepared.rows:
        for name in await opened.database.list_collection_names():
            prepared.rows[name] = await opened[name].find().to_list()
    yield opened
    await opened.close()


async def _as_prepared(store: Store, name: str, prepared: Prepared) -> None:
    if name not in prepared.rows:
        await store.database.drop_collection(name)
        return
    await store[name].delete_many({})
    if rows := prepared.rows[name]:
        await store[name].insert_many(rows)
