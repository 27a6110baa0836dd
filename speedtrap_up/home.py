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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
from speedtrap_graph.http import keyfile
from speedtrap_graph.http.callers import parse_caller

from speedtrap_up.errors import AlreadyRunningError, UpError

ROLES = {"admin": "admin", "probe": "probe", "bots": "bot", "web": "viewer"}
"""The callers of one machine, by the part that holds the key."""

SHORTEST_SECRET = 32
"""A session secret that is shorter was cut off."""


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
    def ended_sessions(self) -> Path:
        return self.folder / "keys" / "ended_sessions"

    @property
    def report(self) -> Path:
        return self.folder / "report.csv"

    def key(self, part: str) -> Path:
        return self.folder / "keys" / part

    def make(self) -> None:
        self.check_owner(_user_id())
        with usable(self.folder):
            for folder in (
                self.folder,
                *(self.folder / name for name in ("keys", "logs", "probe")),
            ):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Somebody may have made the outer folder beforehand, open to everyone.
            self.folder.chmod(0o700)
            if len(_text(self.session_secret)) < SHORTEST_SECRET:
                _set_aside(self.session_secret)
                write_secret(self.session_secret, secrets.token_urlsafe(32))

    def check_owner(self, user_id: int | None) -> None:
        """What root writes into a person's folder that person can no longer read or change."""
        try:
            owner = self.folder.stat().st_uid
        except OSError:
            return
        if user_id == 0 and owner != 0:
            name = _user_name(owner)
            raise UpError(
                f"--data-dir: {self.folder} belongs to {name}, and what root writes there {name} "
                f"could not use: start it as {name} (`sudo -u {name} ...`), or choose another "
                "folder"
            )

    def ensure_keys(self, probe_name: str) -> list[str]:
        """One valid key for every part; a key that was revoked is replaced by a new one. Returns
        what a person should know.
        """
        with usable(self.folder):
            is_lost = not self._entries() and any(_text(self.key(part)) for part in ROLES)
            for part, role in ROLES.items():
                self._ensure_key(part, probe_name if part == "probe" else part, role)
        if not is_lost:
            return []
        return [
            f"{self.keys_file} was missing or empty: new keys were made, see {self.key('admin')}; "
            "a probe on another machine needs a new one too (`speedtrap keys add`)"
        ]

    def _ensure_key(self, part: str, name: str, role: str) -> None:
        callers = {(entry.name, entry.role): entry for entry in self._entries()}
        entry = callers.get((name, role))
        if entry is None:
            taken = [caller for caller, _ in callers if caller == name]
            if taken:
                keyfile.revoke(self.keys_file, name)
            entry = keyfile.add(self.keys_file, name, role)
        if _text(self.key(part)) != entry.key:
            write_secret(self.key(part), entry.key)

    def _entries(self) -> list[keyfile.Entry]:
        try:
            return keyfile.read(self.keys_file)
        except keyfile.KeyFileError as error:
            raise UpError(
                f"{error}. Mend it, or put it back from a copy; or move it away "
                f"(mv {self.keys_file} {self.keys_file}.old), and the next start makes new keys"
            ) from error

    def probe_name(self, wanted: str | None) -> str:
        """*wanted*, or the name of last time, or the machine's."""
        file = self.folder / "probe_name"
        name = wanted or self._last_name(_text(file))
        if not name:
            host = socket.gethostname().split(".")[0].lower()
            name = re.sub(r"[^a-z0-9-]+", "-", host).strip("-")[:64] or "home"
        with usable(self.folder):
            if _text(file) != name:
                write_secret(file, name)
        return name

    def _last_name(self, written: str) -> str:
        """As *written*, unless that was lost or cut off: then as the probe's key says. Under
        another name its history would begin anew.
        """
        key = _text(self.key("probe"))
        known = [e.name for e in self._entries() if e.role == "probe" and e.key == key]
        is_whole = parse_caller(f"{written}:probe") is not None
        if known and (not is_whole or known[0].startswith(written)):
            return known[0]
        return written if is_whole else ""

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
        self.check_owner(_user_id())
        with usable(self.folder):
            lock = (self.folder / "up.lock").open("a")
        with lock:
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
            with usable(self.folder):
                note.write_text(json.dumps({**where, "pid": os.getpid()}))
            try:
                yield
            finally:
                note.unlink(missing_ok=True)


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """What the system refuses about *folder* and its files is said with what to do."""
    try:
        yield
    except OSError as error:
        what = error.filename2 or error.filename or folder
        raise UpError(
            f"--data-dir: {what} cannot be used: {error.strerror}. Give it back to the user who "
            "runs speedtrap, or move it away, and what can be made anew is"
        ) from error


def _text(file: Path) -> str:
    """Empty where there is none that can be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _set_aside(file: Path) -> None:
    if file.exists():
        file.rename(file.with_name(f"{file.name}.damaged-{time.time_ns()}"))


def _user_id() -> int | None:
    """None on Windows, where files have no such owner."""
    found: int | None = None
    if sys.platform != "win32":
        found = os.geteuid()
    return found


def _user_name(user_id: int) -> str:
    if sys.platform != "win32":
        import pwd  # noqa: PLC0415 - does not exist on Windows

        try:
            return pwd.getpwuid(user_id).pw_name
        except KeyError:
            pass
    return f"user {user_id}"


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
