"""What an operator does with the data: one short connection each, and words for a person."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pymongo.errors import PyMongoError

from speedtrap_graph.clock import system_clock
from speedtrap_graph.errors import GraphError
from speedtrap_graph.services.probes.remove import DeletedProbe, Removal
from speedtrap_graph.services.upkeep.archive import DamagedBackupError
from speedtrap_graph.services.upkeep.backup import BackupError, back_up, write_backup
from speedtrap_graph.services.upkeep.probe_export import ProbeExport
from speedtrap_graph.services.upkeep.restore import RestoreError, restore
from speedtrap_graph.settings import StoreSettings
from speedtrap_graph.store.database import Store, connect, prepare
from speedtrap_graph.store.shards import SHARD_KEYS, lay_out

FILE_HELP = "Where the backup is, e.g. speedtrap.backup.gz; `-` is the standard output, or input."
REPLACE_HELP = "Whatever is in the database now is lost."
PROBES_HELP = "One probe with everything of it: export, delete."
EXPORT_HELP = "Where it goes, e.g. pi-attic.zip; `-` is the standard output."
ProbeName = Annotated[str, typer.Argument(help="The probe's name, e.g. pi-attic.")]
ExportFile = Annotated[Path, typer.Option("--to", help=EXPORT_HELP)]
Reason = Annotated[str, typer.Option(help="Why; it is kept with when and how much.")]

T = TypeVar("T")


class CareError(Exception):
    """It could not be done; the message is for a person."""


def with_store(settings: StoreSettings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Connects, works and disconnects; raises CareError in words that show no password."""

    async def once() -> T:
        store = connect(settings.uri, settings.database, settings.username, settings.password)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(once())
    except PyMongoError as error:
        # The driver's own message may show the URI, and with it a password.
        raise CareError(
            "MongoDB does not answer at SPEEDTRAP_GRAPH_MONGODB_URI, or refuses the login"
        ) from error
    except (
        BackupError, ConnectionError, DamagedBackupError, GraphError, RestoreError,
    ) as error:  # fmt: skip
        raise CareError(str(error)) from error


def say_backup(settings: StoreSettings, file: Path) -> None:
    async def work(store: Store) -> dict[str, int]:
        await store.ping()
        if str(file) == "-":
            return await write_backup(store, sys.stdout.buffer, system_clock)
        return await back_up(store, file, system_clock)

    counts = with_store(settings, work)
    typer.echo(
        f"{_named(file)}: {counts.get('runs', 0)} runs, {sum(counts.values())} documents.", err=True
    )


def _named(file: Path) -> str:
    return "standard output" if str(file) == "-" else str(file)


def say_restore(settings: StoreSettings, file: Path, *, replace: bool) -> None:
    try:
        with _readable_twice(file) as whole:
            contents = with_store(settings, lambda store: restore(store, whole, replace=replace))
    except OSError as error:
        raise CareError(f"{file} cannot be read: {error.strerror}") from error
    runs = contents.documents.get("runs", 0)
    typer.echo(
        f"Restored what was there at {contents.taken_at}: {runs} runs, {contents.total} documents. "
        "Start the service again if it runs."
    )


def say_shard(settings: StoreSettings) -> None:
    for collection, is_new in with_store(settings, lay_out).items():
        key = ", ".join(SHARD_KEYS[collection])
        typer.echo(f"{collection} by {key}: {'sharded' if is_new else 'was sharded already'}")


@contextmanager
def _readable_twice(file: Path) -> Iterator[Path]:
    """A restore reads all of a file before it changes anything, so what is piped is kept first."""
    if str(file) != "-":
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="speedtrap-restore-") as folder:
        kept = Path(folder) / "standard-input.gz"
        with kept.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield kept


def say_probe_export(settings: StoreSettings, name: str, file: Path) -> None:
    async def work(store: Store) -> dict[str, int]:
        await store.ping()
        export = ProbeExport(store, system_clock, name)
        return await (export.write(sys.stdout.buffer) if str(file) == "-" else export.to(file))

    counts = with_store(settings, work)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    typer.echo(
        f"{_named(file)}: everything of {name}: {listed or 'nothing but its name'}.", err=True
    )


def say_probe_deletion(settings: StoreSettings, name: str, reason: str) -> None:
    async def work(store: Store) -> DeletedProbe:
        await store.ping()
        await prepare(store)
        removal = Removal(store, system_clock)
        begun = await removal.begin(name, reason, "the command line")
        return await removal.finish(begun)

    counts = with_store(settings, work).counts
    listed = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    typer.echo(
        f"Gone with {name}: {listed}. Take its key back too (`speedtrap keys revoke {name}`), or "
        "it begins anew.",
        err=True,
    )
