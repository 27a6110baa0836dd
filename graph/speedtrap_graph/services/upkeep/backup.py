"""Everything in one file, as it was at one moment, while the service goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pymongo.errors import OperationFailure

from speedtrap_graph.clock import Clock
from speedtrap_graph.services.upkeep.archive import Writer, writer
from speedtrap_graph.store.database import Session, Store
from speedtrap_graph.store.migrations import SCHEMA, check_version
from speedtrap_graph.timestamps import format_moment

STAGED = "restoring."
"""What a restore that has not ended calls its collections."""
_SNAPSHOT_TOO_OLD = 239
_PAGE = 250
"""Documents in memory at a time; MongoDB would send 16 MB of them at once."""


class BackupError(RuntimeError):
    """There is no backup, and what was in its place before still is."""


@contextmanager
def whole(file: Path) -> Iterator[IO[bytes]]:
    """Writes *file*, whole or not at all, for its owner only."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w+b") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(file)
    except OSError as error:
        # Not the errors of the connection, which say nothing about the file.
        if error.filename is None and error.errno is None:
            raise
        raise BackupError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


async def back_up(store: Store, file: Path, clock: Clock) -> dict[str, int]:
    """Writes *file* as `whole` does. How many documents, by collection."""
    with whole(file) as raw:
        return await write_backup(store, raw, clock)


async def write_backup(store: Store, raw: IO[bytes], clock: Clock) -> dict[str, int]:
    """All collections in one snapshot: what a transaction wrote together is there together."""
    await check_version(store.database)
    names = sorted(filter(is_kept, await store.database.list_collection_names()))
    with writer(raw) as packed:
        archive = Writer(packed)
        async with store.client.start_session(snapshot=True) as session:
            try:
                await _write(store, session, archive, names, clock)
            except OperationFailure as error:
                if error.code != _SNAPSHOT_TOO_OLD:
                    raise
                raise BackupError(
                    "the backup took longer than MongoDB keeps a snapshot: start mongod with "
                    "--setParameter minSnapshotHistoryWindowInSeconds=3600"
                ) from error
        archive.end()
    return archive.counts


async def _write(
    store: Store, session: Session, archive: Writer, names: list[str], clock: Clock
) -> None:
    row = await store[SCHEMA].find_one({"_id": "schema"}, session=session)
    archive.begin(int(row["version"]) if row and "version" in row else 1, format_moment(clock()))
    for name in names:
        archive.collection(name)
        found = store[name].find({}, session=session, batch_size=_PAGE)
        async for document in found:
            archive.document(document)


def is_kept(name: str) -> bool:
    """The version and the locks belong to the database, not to the data."""
    return name != SCHEMA and not name.startswith(("system.", STAGED))
