"""A CSV file as rows, whoever saved it: Excel, LibreOffice, or a power loss in the middle of one.

Every line is read on its own: a quote that was never closed must not swallow what comes after it.
"""

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speedtrap_probe.errors import ProbeError

MOST_BYTES = 256_000_000  # decades of runs
DELIMITERS = (",", ";", "\t")
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LOOKED_AT_BYTES = 64
LINE_END = re.compile("\r\n|\r|\n")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # what Excel reads, and some write
# Where a row that was cut off is followed by the next without a line's end.
NEXT_ROW = re.compile(
    r"(?<=.)(?=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d[,;\t][0-9a-f]{8}-"
    r"|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d[,;\t])"
)


@dataclass(frozen=True, slots=True)
class Row:
    """Its cells, and the number of its line."""

    line: int
    cells: Sequence[str]

    @property
    def is_empty(self) -> bool:
        return not any(cell.strip() for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows behind the header; an empty *header* is none."""

    header: Sequence[str]
    rows: Sequence[Row]
    delimiter: str


def lines_of(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ProbeError(f"{path} is too large: at most {MOST_BYTES:,} bytes can be imported")
    encoding, content = _encoding(content)
    if encoding != "utf-8":
        return LINE_END.split(content.decode(encoding, errors="replace"))
    return [_decoded(line) for line in re.split(b"\r\n|\r|\n", content)]


def of(lines: Sequence[str]) -> Table:
    first = next((line for line in lines if line.strip("\0 ")), "")
    named = SEPARATOR_LINE.fullmatch(first.strip())
    heading = next((line for line in lines if "timestamp" in line.lower()), first)
    delimiter = named[1] if named else max(DELIMITERS, key=lambda one: _cells(heading, one))
    header: Sequence[str] = ()
    rows = []
    for number, line in enumerate(lines, start=1):
        for part in _parts(line, header):
            row = Row(number, _split(part, delimiter))
            names = [cell.strip().lower() for cell in row.cells]
            if "timestamp" in names:
                header = header or names  # files that were put together have it again
            elif not (row.is_empty or SEPARATOR_LINE.fullmatch(part.strip())):
                rows.append(row)
    return Table(header, rows, delimiter)


def _parts(line: str, header: Sequence[str]) -> list[str]:
    """A line, or the rows that follow each other on it. A power loss may leave zeros."""
    text = line.replace("\0", "")
    return NEXT_ROW.split(text) if not header or header[0] == "timestamp" else [text]


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell beyond csv's limit
        return [line[:100]]


def _cells(line: str, delimiter: str) -> int:
    return len(_split(line, delimiter))


def _encoding(content: bytes) -> tuple[str, bytes]:
    for mark, name in MARKS:
        if content.startswith(mark):
            return name, content[len(mark) :]
    start = content[:LOOKED_AT_BYTES]
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(start) > 1 and zeros.count(0) * 2 > len(zeros) and start.count(0) < len(start) * 0.6:
            return name, content
    return "utf-8", content


def _decoded(line: bytes) -> str:
    """A line at a time, so that one that a power loss spoilt does not spoil the others."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")  # as Excel saves in western Europe
