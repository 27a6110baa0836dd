"""Rolled-up buckets as documents: `rollups`, one a bucket, by probe, level and start.

`rollup_marks` are the spans of time whose buckets have to be rolled up again; `rollup_states` say
for each probe by which calendar, plans and rules its buckets were.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any
from urllib.parse import quote, unquote

from pymongo import DeleteOne, ReplaceOne

from speedtrap_graph.rules.grid import Level
from speedtrap_graph.rules.model import Metric
from speedtrap_graph.rules.sketch import Sketch
from speedtrap_graph.rules.stretch import Gaps, OutageGaps, Stretch
from speedtrap_graph.rules.summary import Series, Summary

ROLLUPS, MARKS, STATES = "rollups", "rollup_marks", "rollup_states"

Row = dict[str, Any]
Span = tuple[Level, int, int]
"""Whole buckets of a level, [start, end) in milliseconds since the epoch."""

_GAP = Struct("<qqqq")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = (
    "measured", "outages", "inconclusive", "bad", "good", "leading", "trailing", "longest",
    "first_ms", "last_ms", "first_is_outage", "last_outage_ms",
)  # fmt: skip


def milliseconds(moment: datetime) -> int:
    """Since the epoch; what is finer is cut off, as MongoDB does."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment_of(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def replacement(probe: str, level: Level, start_ms: int, summary: Summary) -> ReplaceOne[Row]:
    row = {
        "_id": _key(probe, level, start_ms),
        "start": moment_of(start_ms),
        "stretch": _stretch_row(summary.stretch),
        "hours": {str(hour): sketch.pack() for hour, sketch in sorted(summary.hours.items())},
        "figures": _nested({series: s.pack() for series, s in summary.figures.items()}),
        "worse": _nested(summary.worse),
        "outages_below": {m.value: n for m, n in sorted(summary.outages_below.items())},
        "failures": {_field(tool): n for tool, n in sorted(summary.failures.items())},
    }
    return ReplaceOne({"_id": row["_id"]}, row, upsert=True)


def removal(probe: str, level: Level, start_ms: int) -> DeleteOne:
    return DeleteOne({"_id": _key(probe, level, start_ms)})


def within(probe: str, spans: Iterable[Span]) -> Row:
    """The query for the buckets in *spans*."""
    return {
        "$or": [
            {"_id": {"$gte": _key(probe, level, start), "$lt": _key(probe, level, end)}}
            for level, start, end in spans
        ]
    }


def all_but_hours_before(probe: str, frozen_ms: int) -> Row:
    """The query for all buckets but the hours that stay as they are."""
    others = {"$gte": f"{probe}/", "$lt": _key(probe, Level.HOUR, 0)}
    return {
        "$or": [
            {"_id": others},
            {"_id": {"$gte": _key(probe, Level.HOUR, frozen_ms), "$lt": f"{probe}0"}},
        ]
    }


def all_of(probe: str) -> Row:
    # "0" follows "/".
    return {"_id": {"$gte": f"{probe}/", "$lt": f"{probe}0"}}


def frozen_of(state: Row | None) -> int:
    """Hours before then (milliseconds since the epoch) stay as they are: their runs are gone."""
    before = (state or {}).get("frozen_before")
    return 0 if before is None else milliseconds(before)


def start_of(row: Row) -> int:
    """In milliseconds since the epoch."""
    return int(row["_id"].rpartition("/")[2]) * 1000


def summary_of(row: Row) -> Summary:
    """What the projection left out is empty."""
    return Summary(
        stretch=_stretch_of(row["stretch"]),
        hours={int(hour): Sketch.unpack(packed) for hour, packed in row.get("hours", {}).items()},
        figures={
            (Metric(metric), _tool(field)): Sketch.unpack(packed)
            for metric, fields in row.get("figures", {}).items()
            for field, packed in fields.items()
        },
        worse={
            (Metric(metric), _tool(field)): count
            for metric, fields in row.get("worse", {}).items()
            for field, count in fields.items()
        },
        outages_below={Metric(m): n for m, n in row.get("outages_below", {}).items()},
        failures={_tool(field) or "": n for field, n in row.get("failures", {}).items()},
    )


def of_series(metric: Metric, tool: str | None) -> dict[str, int]:
    """The projection for one series' figures, and the counts beside them."""
    field = _field(tool)
    paths = (
        f"figures.{metric}.{field}",
        f"worse.{metric}.{field}",
        f"outages_below.{metric}",
        "stretch.outages",
        "stretch.inconclusive",
    )
    return dict.fromkeys(paths, 1)


def of_report(metric: Metric) -> dict[str, int]:
    return dict.fromkeys(("stretch", "hours", f"figures.{metric}", "failures"), 1)


def _key(probe: str, level: Level, start_ms: int) -> str:
    # Sorted by time as text; no name of a probe has a slash. Bucket starts are whole seconds, and
    # of any other moment this is the first key that is not before it.
    return f"{probe}/{level}/{-(-start_ms // 1000):012d}"


def _field(tool: str | None) -> str:
    """A name that a path can hold: no dot, and nothing that MongoDB reads a meaning into."""
    return "best" if tool is None else "of " + quote(tool, safe="").replace(".", "%2E")


def _tool(field: str) -> str | None:
    return None if field == "best" else unquote(field.removeprefix("of "))


def _nested(series: Mapping[Series, Any]) -> Row:
    nested: Row = {}
    for (metric, tool), value in sorted(series.items(), key=_name_of):
        nested.setdefault(metric.value, {})[_field(tool)] = value
    return nested


def _name_of(item: tuple[Series, Any]) -> tuple[str, str]:
    (metric, tool), _ = item
    return metric.value, tool or ""


def _stretch_row(stretch: Stretch) -> Row:
    gaps = stretch.outage_gaps
    return {
        **{name: getattr(stretch, name) for name in _COUNTS},
        "intervals": stretch.intervals.pack(),
        "outage_gaps": b"".join(_GAP.pack(*gap.row()) for gap in gaps.in_order()),
        "binned_gaps": [[key, *gap.row()] for key, gap in sorted(gaps.binned.items())],
    }


def _gap_rows(packed: bytes | list[Any]) -> Iterable[Iterable[int]]:
    """Earlier versions stored a list, and hours whose runs are gone still have it."""
    return _GAP.iter_unpack(packed) if isinstance(packed, bytes) else packed


def _stretch_of(row: Row) -> Stretch:
    stretch = Stretch(**{name: row[name] for name in _COUNTS if name in row})
    if "intervals" in row:
        stretch.intervals = Sketch.unpack(row["intervals"])
        stretch.outage_gaps = OutageGaps(
            [Gaps(*gap) for gap in _gap_rows(row["outage_gaps"])],
            {key: Gaps(*gap) for key, *gap in row["binned_gaps"]},
        )
    return stretch
