"""A backup as a file: gzip, one JSON document a line, so that `zcat` and any language can read it.

    {"speedtrap_backup": 1, "schema_version": 2, "taken_at": "..."}
    {"collection": "runs"}
    {"_id": {"$uuid": "..."}, ...}            MongoDB's Extended JSON, canonical: no type is lost
    ...
    {"end": {"documents": {"runs": 1}, "sha256": "..."}}     of every line before it

A document has an `_id`, which none of the other lines has. The last line is what tells a whole file
from one that was cut off, and its digest what tells it from one that was altered by a bad disk.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bson.binary import UuidRepresentation
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions, dumps, loads

Row = dict[str, Any]

FORMAT = 1
_OPTIONS = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    tz_aware=True,
    uuid_representation=UuidRepresentation.STANDARD,
)
_LEVEL = 6


class DamagedBackupError(ValueError):
    """The file is not a backup, or not all of it, or not as it was written."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup."""

    schema_version: int
    taken_at: str
    documents: Mapping[str, int]
    """How many, by collection."""

    @property
    def total(self) -> int:
        return sum(self.documents.values())


@dataclass
class Writer:
    """Writes one document after the other; nothing is kept but counts and a digest."""

    stream: gzip.GzipFile
    counts: dict[str, int] = field(default_factory=dict)
    _digest: Any = field(default_factory=hashlib.sha256)
    _current: str = ""

    def begin(self, schema_version: int, taken_at: str) -> None:
        head = {"speedtrap_backup": FORMAT, "schema_version": schema_version}
        self._line(json.dumps({**head, "taken_at": taken_at}))

    def collection(self, name: str) -> None:
        self._current = name
        self.counts[name] = 0
        self._line(json.dumps({"collection": name}))

    def document(self, row: Mapping[str, Any]) -> None:
        self.counts[self._current] += 1
        self._line(dumps(row, json_options=_OPTIONS))

    def end(self) -> None:
        sealed = {"documents": self.counts, "sha256": self._digest.hexdigest()}
        self._line(json.dumps({"end": sealed}))

    def _line(self, text: str) -> None:
        line = text.encode() + b"\n"
        self._digest.update(line)
        self.stream.write(line)


def writer(raw: IO[bytes]) -> gzip.GzipFile:
    """The packed stream around *raw*. Without a name and a time: the same data, the same bytes."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_LEVEL, mtime=0)


def documents(file: Path) -> Iterator[tuple[str, Row, int]]:
    """Every document with its collection's name and the length of its line, of a file that
    `verify` has found to be whole.
    """
    collection = ""
    with gzip.open(file, "rb") as stream:
        for line in stream:
            row = loads(line, json_options=_OPTIONS)
            if "_id" in row:
                yield collection, row, len(line)
            else:
                collection = row.get("collection", "")


def verify(file: Path) -> Contents:
    """Reads all of it. Raises DamagedBackupError unless it is whole and as it was written."""
    try:
        with gzip.open(file, "rb") as stream:
            return _verified(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error, DamagedBackupError) as error:
        raise DamagedBackupError(f"{file} is damaged or no backup: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, BSONError) as error:
        raise DamagedBackupError(f"{file} is damaged or no backup of speedtrap") from error


def _verified(stream: gzip.GzipFile) -> Contents:
    digest = hashlib.sha256()
    first = next(iter(stream), b"")
    head = json.loads(first)
    if head["speedtrap_backup"] != FORMAT:
        raise DamagedBackupError("it was made by a newer speedtrap")
    digest.update(first)
    counts: dict[str, int] = {}
    collection = ""
    for line in stream:
        row = loads(line, json_options=_OPTIONS)
        if "_id" in row:
            counts[collection] += 1
        elif "collection" in row:
            collection = row["collection"]
            counts[collection] = 0
        else:
            if row["end"] != {"documents": counts, "sha256": digest.hexdigest()}:
                raise DamagedBackupError("what it says about itself is not so")
            if stream.read(1):
                raise DamagedBackupError("something follows its end")
            return Contents(int(head["schema_version"]), str(head["taken_at"]), counts)
        digest.update(line)
    raise DamagedBackupError("its end is missing")
