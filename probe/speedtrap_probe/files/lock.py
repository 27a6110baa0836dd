"""One run at a time on a line: two at once would measure each other."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from speedtrap_probe.errors import ProbeError

TEXT_LIMIT = 4096
WITHIN_S = 3600.0  # a run that does not say how long it may take
AWAY = 1 << 30  # where Windows locks, which keeps others from reading what is locked


@dataclass(frozen=True, slots=True)
class Holder:
    """Who measures the line, since when, and until when it should have ended."""

    pid: int
    since: datetime
    within_s: float

    def age(self, now: datetime) -> timedelta:
        return max(timedelta(), now - self.since)

    def stuck(self, now: datetime) -> bool:
        return self.age(now) > timedelta(seconds=self.within_s)


@contextmanager
def alone(path: Path, within_s: float = WITHIN_S) -> Iterator[bool]:
    """Whether nobody else is inside; who is, `holder` tells. The system lets go of it when the
    process ends, however it ends. Raises ProbeError when the file cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ProbeError(f"the lock {path} cannot be made: {error.strerror}") from error
    try:
        taken = _taken(descriptor)
        if taken:
            _write(descriptor, Holder(os.getpid(), datetime.now(UTC), within_s))
        yield taken
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """What the one who is inside wrote; None where nothing can be read of it."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(TEXT_LIMIT))
        since = datetime.fromisoformat(told["since"])
        found = Holder(int(told["pid"]), since, float(told["within_s"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return found if found.since.tzinfo is not None else None


def _write(descriptor: int, one: Holder) -> None:
    """For people: without it the lock holds as well, so a full disk is no reason to stop."""
    told = {"pid": one.pid, "since": one.since.isoformat(), "within_s": one.within_s}
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(told).encode())


def _taken(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            os.lseek(descriptor, AWAY, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - does not exist on Windows

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
