"""`speedtrap secrets init`: the files that compose hands to its containers."""

import os
import secrets
from pathlib import Path

from speedtrap_graph.http import keyfile

from speedtrap_up.errors import UpError
from speedtrap_up.home import write_secret

NAMES = {
    "speedtest-db_root_username": "speedtrap-root",
    "speedtest-db_api_username": "speedtrap",
}
"""User names are no secret; they keep the file names that the first speedtrap used."""

RANDOM = (
    "speedtest-db_root_password",
    "speedtest-db_api_password",
    "speedtest-db_keyfile",
    "gateway_secret",
    "web_session_secret",
    "grafana_password",
)

KEYS = {
    "admin_key": ("admin", "admin"),
    "web_key": ("web", "viewer"),
    "bots_key": ("bots", "bot"),
    "probe_key": ("home", "probe"),
}
"""File: caller and role in api_keys."""


def init(folder: Path) -> list[Path]:
    """Makes what is missing and says which files that were; never touches one that is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = []
        for name, text in NAMES.items():
            made += _write(folder / name, text)
        for name in RANDOM:
            made += _write(folder / name, secrets.token_hex(32))
        made += _keys(folder)
    except OSError as error:
        raise UpError(f"--dir: {folder} cannot be written: {error.strerror}") from error
    return made


def _keys(folder: Path) -> list[Path]:
    api_keys = folder / "api_keys"
    made = [] if api_keys.exists() else [api_keys]
    for name, (caller, role) in KEYS.items():
        known = {entry.name: entry for entry in keyfile.read(api_keys)}
        entry = known.get(caller) or keyfile.add(api_keys, caller, role)
        made += _write(folder / name, entry.key)
    return made


def _write(file: Path, text: str) -> list[Path]:
    if os.path.lexists(file):
        return []
    write_secret(file, text)
    return [file]
