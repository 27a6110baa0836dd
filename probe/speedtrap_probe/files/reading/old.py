"""The first speedtrap's report.

It wrote `timestamp,fast,speedtest,turnkey,ookla`, often without that header, in local time. What
its figures need to become megabits (10^6 bits) per second:

- `fast`: as printed by ddo/fast, in the unit it printed (see `tools/fast.py` for its "Gbps");
- `speedtest`: speedtest-cli's bits per second divided by 1,048,576, so mebibits: times 1.048576;
- `turnkey`: 100 MB x 8 over the seconds that the whole GET took, already Mbps;
- `ookla`: the CLI's *bytes* per second divided by 125,000, already Mbps: times 1.

Its quirks: `turnkey` comes with a thousands separator or a decimal comma, whatever the Windows
locale says, which may split the cell in two; `fast` may end in a literal `\\r`; a tool that failed
left an empty cell or 0.0. Such a cell is a failure here, never 0.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from uuid import UUID, uuid5

from speedtrap_probe.files.reading.table import Row, Table
from speedtrap_probe.files.reading.times import Written, in_utc, month_first, written
from speedtrap_probe.foreign.credible import admitted
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement, Run
from speedtrap_probe.tools.fast import mbps_of

NAMESPACE = UUID("6ff3e2c1-4c0e-5a53-9a53-0d3c6f0a7e11")  # of runs without an id of their own
HEADER = "timestamp,fast,speedtest,turnkey,ookla"
# The old columns after the timestamp: the tool's name here, and the factor to true Mbps.
COLUMNS = {
    "fast": ("fast", 1.0),
    "speedtest": ("speedtest-cli", 1.048576),
    "turnkey": ("turnkey", 1.0),
    "ookla": ("ookla", 1.0),
}
SPLIT = "turnkey"
# Nothing may follow but the unit and what str(bytes) made of a line end: no half-read numbers.
NUMBER = re.compile(r"(\d[\d.,\u00a0\u202f ]*?)\s*([KMG]bps)?(?:\\[rn])*")


def old_mbps(cell: str) -> float | None:
    """The number in an old cell, e.g. `512.3 Mbps` or `1,023.45 Mbps`; None for 0 or none."""
    match = NUMBER.fullmatch(cell.strip())
    if match is None:
        return None
    digits = re.sub(r"[\u00a0\u202f ]", "", match[1]).rstrip(".,")
    marks = [char for char in digits if char in ".,"]
    # The last mark is the decimal one, except a lone comma before exactly three digits:
    # the script always wrote two decimals, so that is a thousands separator.
    if len(set(marks)) == 1 and (len(marks) > 1 or re.search(r",\d{3}$", digits)):
        digits = digits.replace(marks[0], "")
    elif marks:
        whole, _, decimals = digits.rpartition(marks[-1])
        digits = f"{re.sub('[.,]', '', whole)}.{decimals}"
    value = mbps_of(float(digits), match[2] or "Mbps")
    return value if value > 0 else None


def runs_of(
    table: Table, probe: str, time_zone: tzinfo | None
) -> tuple[list[Run], list[str], list[str]]:
    """The runs, the lines that are none, and how dates were read where they could be read twice."""
    rows, problems = _timed(table)
    order = month_first([when for _, when in rows])
    notes = []
    if rows and order is None:
        first = rows[0][1].text
        problems.append(
            f"dates such as {first!r} can be read as day/month or as month/day, and the file does "
            "not tell which: write them as 2019/12/24"
        )
        rows = []
    elif order and rows:
        notes.append(f"dates such as {rows[0][1].text!r} are read as month/day/year")
    runs = _Runs(probe, time_zone, table.header or HEADER.split(","))
    for row, when in rows if not _newest_first(rows, bool(order)) else reversed(rows):
        try:
            runs.add(row, when.read(month_first=bool(order)))
        except ValueError as error:
            problems.append(f"line {row.line}: {error}")
    return runs.found, problems, notes


def _timed(table: Table) -> tuple[list[tuple[Row, Written]], list[str]]:
    rows, problems = [], []
    place = table.header.index("timestamp") if table.header else 0
    for row in table.rows:
        try:
            rows.append((row, written(row.cells[place] if place < len(row.cells) else "")))
        except ValueError as error:
            problems.append(f"line {row.line}: {error}")
    return rows, problems


def _newest_first(rows: Sequence[tuple[Row, Written]], order: bool) -> bool:
    try:
        first, last = (rows[place][1].read(month_first=order) for place in (0, -1))
    except (IndexError, ValueError):
        return False
    return last < first


class _Runs:
    """Row by row: the repeated hour of a clock change is told by the row before."""

    def __init__(self, probe: str, time_zone: tzinfo | None, header: Sequence[str]) -> None:
        self.found: list[Run] = []
        self._probe, self._zone, self._header = probe, time_zone, header
        self._before: datetime | None = None
        self._times: dict[UUID, datetime] = {}

    def add(self, row: Row, naive: datetime) -> None:
        cells = _by_name(self._header, row.cells)
        at = in_utc(naive, self._zone, self._before)
        values = [cells.get(name, "").strip() for name in COLUMNS]
        # As the first speedtrap wrote it, so that a copy of a spreadsheet's making is the same run.
        named = [self._probe, f"{naive:%Y/%m/%d %H:%M:%S}", *values]
        identity = uuid5(NAMESPACE, "\n".join(named))
        if self._times.setdefault(identity, at) != at:
            identity = uuid5(NAMESPACE, "\n".join([*named, "again"]))
        self._before = at
        measurements = tuple(
            _measurement(*COLUMNS[name], cells[name].strip(), at)
            for name in COLUMNS
            if name in cells
        )
        self.found.append(Run(identity, self._probe, at, at, Conditions(), measurements))


def _by_name(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, str]:
    """By the column's name; turnkey's cell put together again if its separator split it."""
    values = list(cells)
    while values and not values[-1].strip() and len(values) > len(header):
        values.pop()
    if len(values) == len(header) + 1 and SPLIT in header:
        at = header.index(SPLIT)
        values[at : at + 2] = [f"{values[at].strip()},{values[at + 1].strip()}"]
    if len(values) != len(header):
        raise ValueError(f"{len(header) - 1} values expected, {len(cells) - 1} found")
    return dict(zip(header, values, strict=True))


def _measurement(tool: str, factor: float, cell: str, at: datetime) -> Measurement:
    mbps = old_mbps(cell)
    if mbps is None:
        message = f"the first speedtrap wrote {cell!r}: no figure"
        return Measurement(tool, at, 0.0, failure=Failure(FailureKind.TOOL_FAILED, message))
    return admitted(Measurement(tool, at, 0.0, Figures(download_mbps=round(mbps * factor, 6))))
