"""Writing the key file: NGINX's map form, one line a key: `"<key>" "<name>:<role>";`.

The gateway reads the same file, so names and keys are held to characters that need no escaping.
"""

import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from speedtrap_graph.http.callers import Role, parse_caller

_WAIT_S = 10
ROLES = tuple(role.value.lower() for role in Role)

_LINE = re.compile(r'"(?P<key>[^"]{16,200})"\s+"(?P<caller>[^"]+)";')

HEADER = """\
# Who may call speedtrap: "<key>" "<name>:<role>"; with the roles probe, viewer, bot and admin.
# Written by `speedtrap keys`; whoever reads this file can do everything its keys can.
"""


class KeyFileError(Exception):
    """The key file or what should be written into it is not right; the message names the field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One caller. The key stays out of its repr, so that no log line shows it."""

    name: str
    role: str
    key: str

    def __repr__(self) -> str:
        return f"Entry(name={self.name!r}, role={self.role!r})"


def read(file: Path) -> list[Entry]:
    """Every caller in *file*, in its order; none where there is no file yet."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{file}: cannot be read: {error}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        caller = parse_caller(match["caller"]) if match else None
        if match is None or caller is None:
            raise KeyFileError(
                f'{file}, line {number}: not of the form "<key>" "<name>:<role>"; '
                f"with a role out of {', '.join(ROLES)}"
            )
        entries.append(Entry(caller.name, caller.role.value.lower(), match["key"]))
    return entries


def add(file: Path, name: str, role: str) -> Entry:
    """Makes a new random key for *name* and writes it down."""
    if role not in ROLES:
        raise KeyFileError(f"role: {role!r} is not one of {', '.join(ROLES)}")
    if parse_caller(f"{name}:{role}") is None:
        raise KeyFileError(
            f"name: {name!r} is not allowed; small letters, digits, dot, underscore and hyphen, "
            "beginning with a letter or digit, at most 64"
        )
    with _alone(file):
        entries = read(file)
        if any(entry.name == name for entry in entries):
            raise KeyFileError(
                f"name: {name!r} has a key already; revoke it first or choose another"
            )
        entry = Entry(name, role, secrets.token_urlsafe(32))
        _write(file, [*entries, entry])
    return entry


def revoke(file: Path, name: str) -> Entry:
    """Removes the key of *name*. Whoever holds it is a stranger from then on."""
    with _alone(file):
        entries = read(file)
        gone = [entry for entry in entries if entry.name == name]
        if not gone:
            known = ", ".join(entry.name for entry in entries) or "nobody"
            raise KeyFileError(f"name: {name!r} has no key in {file}; there are: {known}")
        _write(file, [entry for entry in entries if entry.name != name])
    return gone[0]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Between reading and writing nobody else writes: a revoked key would come back. The system
    releases the lock when the process ends, however it ends.
    """
    target = file.resolve()
    lock = target.with_name(f".{target.name}.lock")
    deadline = time.monotonic() + _WAIT_S
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyFileError(f"{lock}: cannot be made: {error.strerror}") from error
    try:
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise KeyFileError(f"{file}: another `speedtrap keys` has held it for {_WAIT_S} s")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - does not exist on Windows

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(file: Path, entries: list[Entry]) -> None:
    """A file that is there is overwritten in place: a container that has mounted it would never see
    another put in its stead. The draft beside it is what a crash in that moment leaves whole.
    """
    target = file.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    lines = (f'"{entry.key}" "{entry.name}:{entry.role}";\n' for entry in entries)
    text = (HEADER + "".join(lines)).encode()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            _write_down(stream, text)
        if not target.exists():
            draft.replace(target)
            return
        with target.open("r+b") as stream:
            _write_down(stream, text)
        draft.unlink()
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KeyFileError(f"{file}: cannot be written: {error}") from error


def _write_down(stream: BinaryIO, text: bytes) -> None:
    stream.write(text)
    stream.truncate()
    stream.flush()
    os.fsync(stream.fileno())
