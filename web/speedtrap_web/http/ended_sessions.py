"""Sessions that were ended by logging out, for as long as their cookies would still open."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MOST_ENDED = 10_000
"""Only who was logged in can end a session. The one that would expire first is forgotten first."""
_ID_CHARS = 32
_LONGEST_FILE_BYTES = 100 * MOST_ENDED
_log = logging.getLogger(__name__)


@dataclass
class EndedSessions:
    """In memory, and in *file* where there is one: it outlives the process, and several copies of
    the service on one machine may share it.

    A line is a session's id and when its cookie expires, in seconds since 1970.
    """

    file: Path | None = None
    now: Callable[[], float] = time.time
    _until: dict[str, float] = field(default_factory=dict)
    _seen: tuple[int, int] | None = None

    def __contains__(self, session: str) -> bool:
        self._read()
        return self._until.get(session, 0.0) > self.now()

    def add(self, session: str, until: float) -> None:
        self._read()
        self._until[session] = until
        self._drop_expired()
        if self.file is None:
            return
        try:
            self._append(self.file, f"{session} {until:.0f}\n")
        except OSError as error:
            _log.warning("logouts are not kept beyond this process: %s", error.strerror)

    def _append(self, file: Path, line: str) -> None:
        size = file.stat().st_size if file.exists() else 0
        if size > _LONGEST_FILE_BYTES // 2:
            self._rewrite(file)
            return
        # One write of a short line: copies that do so at once do not mix their lines.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as stream:
            stream.write(line.encode("ascii"))

    def _rewrite(self, file: Path) -> None:
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.writelines(f"{name} {until:.0f}\n" for name, until in self._until.items())
        draft.replace(file)

    def _read(self) -> None:
        """What other copies have added; lines that cannot be read are passed over."""
        if self.file is None:
            return
        try:
            status = self.file.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return
            with self.file.open("rb") as stream:
                text = stream.read(_LONGEST_FILE_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("logouts of before cannot be read: %s", error.strerror)
            return
        self._seen = seen
        for line in text.splitlines():
            session, _, until = line.partition(" ")
            if len(session) == _ID_CHARS and until.isascii() and until.isdecimal():
                self._until[session] = float(until[:12])
        self._drop_expired()

    def _drop_expired(self) -> None:
        now = self.now()
        kept = sorted(
            (pair for pair in self._until.items() if pair[1] > now), key=lambda pair: pair[1]
        )
        self._until = dict(kept[-MOST_ENDED:])
