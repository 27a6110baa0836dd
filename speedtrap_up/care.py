"""`speedtrap backup` and `restore`: on the database of `speedtrap up`, or the one that is named."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from speedtrap_graph import care, embedded
from speedtrap_graph.settings import StoreSettings

from speedtrap_up.errors import UpError
from speedtrap_up.home import Home


def backup(home: Home, file: Path) -> None:
    try:
        care.say_backup(store_settings(home, os.environ), file)
    except care.CareError as error:
        raise UpError(_with_a_hint(str(error), home)) from error


def restore(home: Home, file: Path, *, replace: bool) -> None:
    try:
        care.say_restore(store_settings(home, os.environ), file, replace=replace)
    except care.CareError as error:
        raise UpError(_with_a_hint(str(error), home)) from error


def export_probe(home: Home, name: str, file: Path) -> None:
    try:
        care.say_probe_export(store_settings(home, os.environ), name, file)
    except care.CareError as error:
        raise UpError(_with_a_hint(str(error), home)) from error


def delete_probe(home: Home, name: str, reason: str) -> None:
    try:
        care.say_probe_deletion(store_settings(home, os.environ), name, reason)
    except care.CareError as error:
        raise UpError(_with_a_hint(str(error), home)) from error


def store_settings(home: Home, environ: Mapping[str, str]) -> StoreSettings:
    """Those of the environment where it names a database, else of the one of `speedtrap up`."""
    try:
        if environ.get("SPEEDTRAP_GRAPH_MONGODB_URI"):
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


def _with_a_hint(message: str, home: Home) -> str:
    if home.running() or not message.startswith("MongoDB does not answer"):
        return message
    return f"{message}: speedtrap does not run on {home.folder}; start it, then again"
