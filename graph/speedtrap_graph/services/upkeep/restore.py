"""Puts a backup in the place of what is in the database.

The file is read to its end before anything is written. Its documents then go into collections
beside those in use, so that whatever happens until they are all there changes nothing; only then
does one after the other take its place. A mark in the database lasts as long as that takes, and
keeps every service out of a database that is half the one and half the other.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from pymongo.errors import OperationFailure

from speedtrap_graph.services.upkeep.archive import Contents, documents, verify
from speedtrap_graph.services.upkeep.backup import STAGED, is_kept
from speedtrap_graph.store.database import Row, Store, prepare
from speedtrap_graph.store.migrations import (
    RESTORING,
    SCHEMA,
    SCHEMA_VERSION,
    HalfRestoredError,
    check_version,
    locked,
)

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_ROWS = 250
_MADE_BY_A_START = {"counters"}
"""A service that was started once on an empty database has left these."""
_NAMESPACE_NOT_FOUND = 26


class RestoreError(RuntimeError):
    """Nothing was restored, and nothing was changed."""


async def restore(store: Store, file: Path, *, replace: bool = False) -> Contents:
    """Raises DamagedBackupError or RestoreError before anything has changed."""
    contents = verify(file)
    if contents.schema_version > SCHEMA_VERSION:
        raise RestoreError(
            f"{file} is of version {contents.schema_version} and this speedtrap knows versions up "
            f"to {SCHEMA_VERSION}: restore it with the speedtrap that made it, or a newer one"
        )
    interrupted = await _was_interrupted(store)
    await _check_empty(store, allowed=replace or interrupted)
    await _drop_staged(store)
    await _load(store, file)
    async with locked(store.database):
        # It took a while, and somebody may have started a service meanwhile.
        await _check_empty(store, allowed=replace or interrupted)
        await _swap(store, contents)
    await prepare(store)
    return contents


async def _was_interrupted(store: Store) -> bool:
    try:
        await check_version(store.database)
    except HalfRestoredError:
        return True
    return False


async def _check_empty(store: Store, *, allowed: bool) -> None:
    if allowed:
        return
    for name in await _in_use(store):
        if name not in _MADE_BY_A_START and await store[name].find_one({}, {"_id": 1}):
            raise RestoreError(
                f"the database {store.database.name!r} is not empty ({name}): name an empty one "
                "in SPEEDTRAP_GRAPH_DATABASE (with `speedtrap up` another --data-dir), or say "
                "--replace to lose what is in it"
            )


async def _in_use(store: Store) -> list[str]:
    return sorted(filter(is_kept, await store.database.list_collection_names()))


async def _drop_staged(store: Store) -> None:
    for name in await store.database.list_collection_names():
        if name.startswith(STAGED):
            await store.database.drop_collection(name)


async def _load(store: Store, file: Path) -> None:
    for name, rows in groupby(documents(file), itemgetter(0)):
        staged = store[f"{STAGED}{name}"]
        for batch in _batches((row, size) for _, row, size in rows):
            await staged.insert_many(batch)


def _batches(rows: Iterator[tuple[Row, int]]) -> Iterator[list[Row]]:
    """By bytes, for a notice with its attachments may have megabytes."""
    batch: list[Row] = []
    size = 0
    for row, row_bytes in rows:
        batch.append(row)
        size += row_bytes
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _swap(store: Store, contents: Contents) -> None:
    mark = {"_id": RESTORING}
    await store[SCHEMA].replace_one(mark, mark, upsert=True)
    for name in await _in_use(store):
        if not contents.documents.get(name):
            await store.database.drop_collection(name)
    for name, count in contents.documents.items():
        if count:
            await _take_its_place(store, name)
    version = {"$set": {"version": contents.schema_version}}
    await store[SCHEMA].update_one({"_id": "schema"}, version, upsert=True)
    await store[SCHEMA].delete_one(mark)


async def _take_its_place(store: Store, name: str) -> None:
    try:
        await store[f"{STAGED}{name}"].rename(name, dropTarget=True)
    except OperationFailure as error:
        if error.code != _NAMESPACE_NOT_FOUND:
            raise
        raise RestoreError(
            f"another restore took {STAGED}{name} away: run one at a time, and this one again"
        ) from error
