"""The connection. Writes are acknowledged by the majority, or a failover may take them back."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from beanie import init_beanie
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from speedtrap_graph.store.documents import DOCUMENTS, PROBE_EVENTS
from speedtrap_graph.store.migrations import check_version, locked, migrate

Row = dict[str, Any]
Session = AsyncClientSession
T = TypeVar("T")

_MAJORITY = WriteConcern(w="majority")
_SNAPSHOT = ReadConcern("snapshot")


class AbortedError(Exception):
    """A transaction that was to be tried once only has come to nothing."""


@dataclass(frozen=True)
class Store:
    """The collections by name, for what is hot; Beanie's documents use the same ones."""

    client: AsyncMongoClient[Row]
    database: AsyncDatabase[Row]

    def __getitem__(self, collection: str) -> AsyncCollection[Row]:
        return self.database[collection]

    async def transaction(
        self, work: Callable[[Session], Awaitable[T]], *, again: bool = True
    ) -> T:
        """Runs *work*, again from the start when another transaction was in its way; or else,
        without *again*, raises AbortedError.
        """
        begun = False

        async def attempt(session: Session) -> T:
            nonlocal begun
            if begun and not again:
                raise AbortedError("another transaction was in the way")
            begun = True
            return await work(session)

        async with self.client.start_session() as session:
            return await session.with_transaction(
                attempt,
                read_concern=_SNAPSHOT,
                write_concern=_MAJORITY,
                read_preference=ReadPreference.PRIMARY,
            )

    async def ping(self) -> None:
        """Raises PyMongoError or ConnectionError unless a primary of a replica set answers."""
        hello = await self.database.command("hello", maxTimeMS=2000)
        if not hello.get("isWritablePrimary"):
            raise ConnectionError("MongoDB has no primary that takes writes")
        if "setName" not in hello and not _is_router(hello):
            raise ConnectionError(
                "MongoDB is no replica set, and without one it has no transactions: start mongod "
                "with --replSet and initiate it (one member is enough)"
            )
        await check_version(self.database)

    async def is_cluster(self) -> bool:
        """Whether a mongos answers, with shards behind it."""
        return _is_router(await self.database.command("hello"))

    async def close(self) -> None:
        await self.client.close()


def _is_router(hello: Row) -> bool:
    return bool(hello.get("msg") == "isdbgrid")


def connect(uri: str, database: str, username: str = "", password: str = "") -> Store:
    """A store that has not been spoken to yet."""
    options: dict[str, Any] = {}
    if username:
        options = {"username": username, "password": password}
    client: AsyncMongoClient[Row] = AsyncMongoClient(
        uri,
        tz_aware=True,
        uuidRepresentation="standard",
        w="majority",
        appname="speedtrap-graph",
        **options,
    )
    return Store(client, client[database])


async def prepare(store: Store) -> None:
    """Binds the documents, makes collections and indexes and migrates; several copies at once take
    turns.
    """
    await check_version(store.database)
    async with locked(store.database):
        await migrate(store.database)
        await init_beanie(database=store.database, document_models=DOCUMENTS)
        # A transaction that has to make a collection conflicts with every other one that does.
        present = set(await store.database.list_collection_names())
        for name in {document.get_collection_name() for document in DOCUMENTS} - present:
            with contextlib.suppress(CollectionInvalid):
                await store.database.create_collection(name)
        for counted in ("events", PROBE_EVENTS):
            await store["counters"].update_one(
                {"_id": counted}, {"$setOnInsert": {"seq": 0}}, upsert=True
            )
