"""`speedtrap backup` and `restore`: on the database of `speedtrap up`, or the one that is named."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from pymongo.errors import PyMongoError
from speedtrap_graph import commands, embedded
from speedtrap_graph.settings import StoreSettings

from speedtrap_up import database
from speedtrap_up.errors import UpError
from speedtrap_up.home import Home


def backup(home: Home, file: Path) -> None:
    _work(home, lambda: commands.say_backup(store_settings(home, os.environ), file))


def restore(home: Home, file: Path, *, replace: bool) -> None:
    """Also into a folder that has no database yet."""
    if not _is_elsewhere(os.environ) and not database.is_there(home):
        home.make()
    work = partial(commands.say_restore, file=file, replace=replace)
    _work(home, lambda: work(store_settings(home, os.environ)), may_begin=True)


def export_probe(home: Home, name: str, file: Path) -> None:
    _work(home, lambda: commands.say_probe_export(store_settings(home, os.environ), name, file))


def delete_probe(home: Home, name: str, reason: str) -> None:
    _work(home, lambda: commands.say_probe_deletion(store_settings(home, os.environ), name, reason))


def _work(home: Home, work: Callable[[], None], *, may_begin: bool = False) -> None:
    try:
        if _is_elsewhere(os.environ) or not (may_begin or database.is_there(home)):
            work()
        else:
            database.with_mongod(home, os.environ, work)
    except commands.CareError as error:
        words = str(error)
        if isinstance(error.__cause__, PyMongoError | ConnectionError) and not _is_elsewhere(
            os.environ
        ):
            # It opened, and then could not read or write something.
            words += f"; {home.folder / 'logs' / 'mongod.log'} may say why. "
            words += embedded.what_to_do(home.folder / "mongo")
        raise UpError(words) from error


def _is_elsewhere(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("SPEEDTRAP_GRAPH_MONGODB_URI"))


def store_settings(home: Home, environ: Mapping[str, str]) -> StoreSettings:
    """Those of the environment where it names a database, else of the one of `speedtrap up`."""
    try:
        if _is_elsewhere(environ):
            return StoreSettings()
        access = embedded.access(home.folder / "mongo")
        return StoreSettings.model_validate(
            {
                "mongodb_uri": access.uri + "&serverSelectionTimeoutMS=5000",
                "mongodb_username": access.username,
                "mongodb_password_file": access.password_file,
            }
        )
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            wrong = error.errors(include_url=False, include_input=False)[0]
            name = "_".join(str(step) for step in wrong["loc"]).upper()
            raise UpError(f"SPEEDTRAP_GRAPH_{name}: {wrong['msg']}") from None
        raise UpError(
            f"--data-dir: {home.folder} has no database yet: start `speedtrap up` on it first, or "
            "name another database in SPEEDTRAP_GRAPH_MONGODB_URI"
        ) from error
