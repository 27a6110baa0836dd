"""Where the rules of a probe stand, as kept in its document."""

from collections.abc import Iterable, Mapping
from struct import pack, unpack

from speedtrap_graph.rules.model import Rule
from speedtrap_graph.rules.sketch import Sketch
from speedtrap_graph.rules.streaks import EXACT_MEDIAN, Bad, Running, Tail
from speedtrap_graph.store.database import Row

_VALUES, _SKETCH = b"v", b"s"


def tail_rows(tails: Mapping[str, Tail]) -> list[Row]:
    """Those that have something to remember."""
    return [
        _row(key, tails[key]) for key in sorted(tails) if tails[key].recent or tails[key].running
    ]


def tails_of(rows: Iterable[Row], rules: Mapping[str, Rule]) -> dict[str, Tail]:
    """One for each of *rules*, by their keys."""
    stored = {row["rule"]: row for row in rows}
    return {key: _tail(stored.get(key, {}), rule) for key, rule in rules.items()}


def _row(key: str, tail: Tail) -> Row:
    row: Row = {"rule": key, "recent": [None if bad is None else _bad(bad) for bad in tail.recent]}
    running = tail.running
    if running is not None:
        row["running"] = {
            "first": _bad(running.first),
            "opened_at": running.opened_at,
            "last_run_at": running.last_run_at,
            "count": running.count,
            "goods": running.goods,
            "values": _packed(running.values),
        }
    return row


def _tail(row: Row, rule: Rule) -> Tail:
    running = row.get("running")
    return Tail(
        rule,
        [None if bad is None else Bad(*bad) for bad in row.get("recent", [])],
        None
        if running is None
        else Running(
            first=Bad(*running["first"]),
            opened_at=running["opened_at"],
            last_run_at=running["last_run_at"],
            count=running["count"],
            values=_unpacked(running["values"]),
            goods=running["goods"],
        ),
    )


def _bad(bad: Bad) -> list[object]:
    return [bad.started_at, bad.run_id, bad.value]


def _packed(values: Sketch) -> bytes:
    if values.n > EXACT_MEDIAN:
        return _SKETCH + values.pack()
    return _VALUES + pack(f"<{values.n}d", *values.values)


def _unpacked(packed: bytes) -> Sketch:
    if packed[:1] == _SKETCH:
        return Sketch.unpack(packed[1:])
    return Sketch(unpack(f"<{len(packed) // 8}d", packed[1:]))
