"""Logs in JSON: every line is one record of the form that all services share, or the test fails."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
"""RFC 3339 in UTC, with milliseconds."""
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
HEAD = ["time", "level", "logger", "message"]

Record = dict[str, Any]


def records(log: Path | str) -> list[Record]:
    """Every line of it."""
    text = log if isinstance(log, str) else log.read_text(encoding="ascii")
    found = [_record(line) for line in text.splitlines()]
    assert found, "nothing was said"
    return found


def the_one(said: Iterable[Record], words: str) -> Record:
    (found,) = having(said, words)
    return found


def having(said: Iterable[Record], words: str) -> Sequence[Record]:
    return [record for record in said if words in record["message"]]


def _record(line: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise AssertionError(f"no JSON: {line!r}") from error
    assert isinstance(record, dict), line
    assert list(record)[:4] == HEAD, line
    assert MOMENT.fullmatch(record["time"]), line
    assert record["level"] in LEVELS, line
    for name, value in record.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), line
        assert value is not None, line
    return record
