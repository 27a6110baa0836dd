"""A part's log file, which has a bound however much the part says and however long it runs.

Only the supervisor holds it open, never a part: it can be renamed on every system.
"""

from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

MOST_BYTES = 5_000_000
OLDER_FILES = 2
"""`<part>.log.1` is what was said before `<part>.log`, and so on."""


class LogFile:
    """Appends lines; a full file becomes the first of the older ones, and the oldest goes."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._stream: TextIO | None = None
        self._bytes = 0

    def __enter__(self) -> Self:
        self._open("a")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def write(self, line: str) -> None:
        """A full disk costs the line: the part whose words these are goes on."""
        text = line + "\n"
        size = len(text.encode())
        if self._bytes and self._bytes + size > self._most_bytes:
            self._begin_anew()
        try:
            if self._stream is None:
                self._open("a")
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
                self._bytes += size
        except OSError:
            self._close()

    def _begin_anew(self) -> None:
        self._close()
        try:
            for number in range(OLDER_FILES, 0, -1):
                newer = self._older(number - 1)
                if newer.exists():
                    newer.replace(self._older(number))
        except OSError:
            # On Windows a file that somebody looks at cannot be renamed. The bound holds anyway.
            self._open("w")
        else:
            self._open("a")

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open(self, mode: Literal["a", "w"]) -> None:
        try:
            # The same line ends on every system: `_bytes` counts what is written.
            self._stream = self._path.open(mode, encoding="utf-8", newline="\n")
            self._bytes = self._path.stat().st_size
        except OSError:
            self._stream = None

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was still to be written does not fit
                return
