"""The data folder: who holds it, and the keys of those who live in it.

api_keys         every caller, in NGINX's map form
keys/<part>      the key of one part alone, for its ..._KEY_FILE
running.json     the address and process of the `speedtrap up` that holds the folder
mongo/ probe/ logs/ report.csv
"""

import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
from speedtrap_graph import keyfile

from speedtrap_up.errors import AlreadyRunningError, UpError

ROLES = {"admin": "admin", "probe": "probe", "bots": "bot", "web": "viewer"}
"""The callers of one machine, by the part that holds the key."""


def default_folder() -> Path:
    """The platform's place for a program's data, e.g. ~/.local/share/speedtrap."""
    return platformdirs.user_data_path("speedtrap")


@dataclass(frozen=True, slots=True)
class Home:
    """One data folder, made on first use and readable by its owner only."""

    folder: Path

    @property
    def keys_file(self) -> Path:
        return self.folder / "api_keys"

    @property
    def session_secret(self) -> Path:
        return self.folder / "keys" / "session_secret"

    @property
    def report(self) -> Path:
        return self.folder / "report.csv"

    def key(self, part: str) -> Path:
        return self.folder / "keys" / part

    def make(self) -> None:
        try:
            for folder in (self.folder, self.folder / "keys", self.folder / "logs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Somebody may have made the outer folder beforehand, open to everyone.
            self.folder.chmod(0o700)
            if not self.session_secret.exists():
                write_secret(self.session_secret, secrets.token_urlsafe(32))
        except OSError as error:
            raise UpError(f"--data-dir: {self.folder} cannot be used: {error.strerror}") from error

    def ensure_keys(self, probe_name: str) -> None:
        """One valid key for every part; a key that was revoked is replaced by a new one."""
        for part, role in ROLES.items():
            name = probe_name if part == "probe" else part
            callers = {(entry.name, entry.role): entry for entry in keyfile.read(self.keys_file)}
            entry = callers.get((name, role))
            if entry is None:
                taken = [caller for caller, _ in callers if caller == name]
                if taken:
                    keyfile.revoke(self.keys_file, name)
                entry = keyfile.add(self.keys_file, name, role)
            if not self.key(part).exists() or self.key(part).read_text().strip() != entry.key:
                write_secret(self.key(part), entry.key)

    def probe_name(self, wanted: str | None) -> str:
        """*wanted*, or the name of last time, or the machine's."""
        file = self.folder / "probe_name"
        if wanted:
            name = wanted
        elif file.exists():
            return file.read_text().strip()
        else:
            host = socket.gethostname().split(".")[0].lower()
            name = re.sub(r"[^a-z0-9-]+", "-", host).strip("-")[:64] or "home"
        file.write_text(name)
        return name

    def running(self) -> dict[str, object]:
        """What the holder of this folder said about itself; empty where it said nothing."""
        try:
            said = json.loads((self.folder / "running.json").read_text())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    @contextmanager
    def held(self, address: str | None = None) -> Iterator[None]:
        """Holds the folder for one `speedtrap up`, or for a command that has no address; the lock
        dies with the process.
        """
        with (self.folder / "up.lock").open("a") as lock:
            try:
                _lock(lock)
            except BlockingIOError as error:
                said = self.running()
                raise AlreadyRunningError(
                    f"speedtrap runs already on {self.folder}: {said.get('address', 'no page')} "
                    f"(process {said.get('pid', 'unknown')}).\n"
                    "Stop that one first, or give this one its own folder with --data-dir."
                ) from error
            note = self.folder / "running.json"
            where = {"address": address} if address else {}
            note.write_text(json.dumps({**where, "pid": os.getpid()}))
            try:
                yield
            finally:
                note.unlink(missing_ok=True)


def _lock(file: IO[str]) -> None:
    """Raises BlockingIOError where another process has it."""
    if sys.platform != "win32":  # where the other commands still work
        import fcntl  # noqa: PLC0415 - as above

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_secret(file: Path, text: str) -> None:
    """Whole or not at all, readable by its owner only."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
