"""One run at a time on a line: two at once would measure each other."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speedtrap_probe.errors import ProbeError


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody else is inside. The system lets go of it when the process ends, however it
    ends. Raises ProbeError when the file cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ProbeError(f"the lock {path} cannot be made: {error.strerror}") from error
    try:
        yield _taken(descriptor)
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
