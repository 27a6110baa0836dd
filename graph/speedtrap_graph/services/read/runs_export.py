"""All runs of a range, oldest first, as text that is written while it is read.

A page of runs is in memory at a time, however many there are. Each page starts behind the last run
of the one before, so that a reader may take hours: no cursor is held open for him.
"""

import csv
import io
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic.alias_generators import to_camel
from pymongo import ASCENDING

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.timestamps import format_moment

_PAGE = 500

CSV_COLUMNS = (
    "timestamp", "run_id", "probe", "tool", "download_mbps", "upload_mbps", "latency_ms",
    "jitter_ms", "packet_loss_ratio", "server", "failure", "outcome", "outcome_reason",
)  # fmt: skip
"""Those of the probe's `report.csv`, and what the run was judged to be."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that starts like this is run as a formula by spreadsheets."""


class Format(StrEnum):
    NDJSON = "ndjson"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        return "application/x-ndjson" if self is Format.NDJSON else "text/csv; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Wanted:
    """[since, until) of one probe or of all."""

    probe: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def export(store: Store, wanted: Wanted, form: Format) -> AsyncIterator[bytes]:
    """NDJSON has one line a run, named as `Run` is in the schema; CSV one row a measurement."""
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise BadInputError("until must be later than since", field="until")
    if form is Format.NDJSON:
        return _written(store, wanted, b"", _ndjson)
    header = ",".join(CSV_COLUMNS) + "\r\n"
    return _written(store, wanted, header.encode(), _csv)


async def raw_since(store: Store, probe: str | None) -> datetime | None:
    """From when on all runs are there, of *probe* or of every one; None: from the first."""
    wanted: Row = {"raw_since": {"$exists": True}}
    if probe is not None:
        wanted["_id"] = probe
    row = await store["probes"].find_one(wanted, {"raw_since": 1}, sort=[("raw_since", -1)])
    return None if row is None else row["raw_since"]


async def _written(
    store: Store, wanted: Wanted, head: bytes, write: Callable[[list[Row]], str]
) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for page in _pages(store, wanted):
        yield write(page).encode()


async def _pages(store: Store, wanted: Wanted) -> AsyncIterator[list[Row]]:
    query: Row = {} if wanted.probe is None else {"probe": wanted.probe}
    since = {} if wanted.since is None else {"$gte": wanted.since}
    until = {} if wanted.until is None else {"$lt": wanted.until}
    if since or until:
        query["started_at"] = {**since, **until}
    while True:
        found = store["runs"].find(query).sort([("started_at", ASCENDING), ("_id", ASCENDING)])
        page = await found.limit(_PAGE).to_list()
        if page:
            yield page
        if len(page) < _PAGE:
            return
        last = page[-1]
        # The bound outside of $or keeps the index scan behind the last run.
        query["started_at"] = {"$gte": last["started_at"], **until}
        query["$or"] = [
            {"started_at": {"$gt": last["started_at"]}},
            {"_id": {"$gt": last["_id"]}},
        ]


def _ndjson(page: list[Row]) -> str:
    return "".join(
        json.dumps(named(row), ensure_ascii=False, separators=(",", ":")) + "\n" for row in page
    )


def named(value: Any) -> Any:
    """A stored run, or a part of one, as the schema names and writes it."""
    if isinstance(value, Mapping):
        return {_name(key): named(part) for key, part in value.items()}
    if isinstance(value, list):
        return [named(part) for part in value]
    if isinstance(value, datetime):
        return format_moment(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value) if isinstance(value, UUID) else value


def _name(key: str) -> str:
    if key == "_id":
        return "id"
    # The names of metrics in `best` are not fields.
    return key if key.isupper() else to_camel(key)


def _csv(page: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in page:
        writer.writerows(_cells(row))
    return text.getvalue()


def _cells(row: Row) -> Iterator[list[Any]]:
    """One row a measurement; of a run without any, one without a tool."""
    for measurement in row["measurements"] or [{}]:
        server, failure = measurement.get("server") or {}, measurement.get("failure") or {}
        cells = {
            **measurement,
            "timestamp": format_moment(measurement.get("started_at", row["started_at"])),
            "run_id": row["_id"],
            "probe": row["probe"],
            "server": server.get("name") or server.get("host") or server.get("id"),
            "failure": f"{failure['kind']}: {failure['message']}" if failure else None,
            "outcome": row["outcome"],
            "outcome_reason": row["outcome_reason"],
        }
        yield [_harmless(cells.get(column)) for column in CSV_COLUMNS]


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell
