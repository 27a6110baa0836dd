"""Reads reports back: ours, and the first speedtrap's.

The first speedtrap wrote `timestamp,fast,speedtest,turnkey,ookla`, often without that header, in
local time. What its figures need to become megabits (10^6 bits) per second:

- `fast`: as printed by ddo/fast, in the unit it printed (see `tools/fast.py` for its "Gbps");
- `speedtest`: speedtest-cli's bits per second divided by 1,048,576, so mebibits: times 1.048576;
- `turnkey`: 100 MB x 8 over the seconds that the whole GET took, already Mbps;
- `ookla`: the CLI's *bytes* per second divided by 125,000, already Mbps: times 1.

Its quirks: `turnkey` comes with a thousands separator or a decimal comma, whatever the Windows
locale says, which may split the cell in two; `fast` may end in a literal `\\r`; a tool that failed
left an empty cell or 0.0. Such a cell is a failure here, never 0.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from speedtrap_probe import report
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.model import (
    Conditions,
    Failure,
    FailureKind,
    Figures,
    Measurement,
    Run,
    Server,
)
from speedtrap_probe.tools.fast import mbps_of

NAMESPACE = UUID("6ff3e2c1-4c0e-5a53-9a53-0d3c6f0a7e11")  # of runs without an id of their own
OLD_TIME = "%Y/%m/%d %H:%M:%S"
# The old columns after the timestamp: the tool's name here, and the factor to true Mbps.
OLD_COLUMNS = (("fast", 1.0), ("speedtest-cli", 1.048576), ("turnkey", 1.0), ("ookla", 1.0))
TURNKEY_COLUMN = 3
# Nothing may follow but the unit and what str(bytes) made of a line end: no half-read numbers.
NUMBER = re.compile(r"(\d[\d.,\u00a0\u202f ]*?)\s*([KMG]bps)?(?:\\[rn])*")


@dataclass(frozen=True, slots=True)
class Reading:
    """The runs in a report, and the lines that made no sense, each with the reason."""

    runs: Sequence[Run] = field(default_factory=tuple)
    problems: Sequence[str] = field(default_factory=tuple)


def read(path: Path, probe: str, time_zone: tzinfo | None = None) -> Reading:
    """Reads either format. Local times are of *time_zone* (default: this machine's)."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}") from error
    lines = text.splitlines()
    if lines and lines[0].startswith(report.HEADER):
        return _own(lines)
    return _old(lines, probe, time_zone)


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


def _old(lines: Sequence[str], probe: str, time_zone: tzinfo | None) -> Reading:
    runs, problems = [], []
    for number, cells in enumerate(csv.reader(lines), start=1):
        if not any(cell.strip() for cell in cells) or cells[0].strip() == "timestamp":
            continue
        try:
            runs.append(_old_run(cells, probe, time_zone))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    return Reading(runs, problems)


def _old_run(cells: Sequence[str], probe: str, time_zone: tzinfo | None) -> Run:
    try:
        naive = datetime.strptime(cells[0].strip(), OLD_TIME)  # noqa: DTZ007 - local by format
    except ValueError:
        raise ValueError(f"no time like 2019/12/24 18:30:00: {cells[0]!r}") from None
    at = naive.replace(tzinfo=time_zone) if time_zone else naive
    at = at.astimezone(UTC)
    values = _rejoined(cells)
    measurements = tuple(
        _old_measurement(tool, factor, cell, at)
        for (tool, factor), cell in zip(OLD_COLUMNS, values, strict=True)
    )
    identity = uuid5(NAMESPACE, "\n".join((probe, cells[0].strip(), *values)))
    return Run(identity, probe, at, at, Conditions(), measurements)


def _rejoined(cells: Sequence[str]) -> list[str]:
    """The four values; turnkey's cell put together again if its separator split it."""
    values = [cell.strip() for cell in cells[1:]]
    if len(values) == len(OLD_COLUMNS) + 1:
        at = TURNKEY_COLUMN - 1
        values[at : at + 2] = [f"{values[at]},{values[at + 1]}"]
    if len(values) != len(OLD_COLUMNS):
        raise ValueError(f"{len(OLD_COLUMNS)} values expected, {len(values)} found")
    return values


def _old_measurement(tool: str, factor: float, cell: str, at: datetime) -> Measurement:
    mbps = old_mbps(cell)
    if mbps is None:
        message = f"the first speedtrap wrote {cell!r}: no figure"
        return Measurement(tool, at, 0.0, failure=Failure(FailureKind.TOOL_FAILED, message))
    return Measurement(tool, at, 0.0, Figures(download_mbps=round(mbps * factor, 6)))


def _own(lines: Sequence[str]) -> Reading:
    rows: dict[UUID, list[tuple[str, Measurement]]] = {}
    problems = []
    for number, row in enumerate(csv.DictReader(lines), start=2):
        try:
            probe, measurement = _own_measurement(row)
            rows.setdefault(UUID(row["run_id"]), []).append((probe, measurement))
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(f"line {number}: {error}")
    return Reading(list(_own_runs(rows.items())), problems)


def _own_runs(rows: Iterable[tuple[UUID, list[tuple[str, Measurement]]]]) -> Iterator[Run]:
    for run_id, entries in rows:
        times = [measurement.started_at for _, measurement in entries]
        measurements = tuple(measurement for _, measurement in entries)
        yield Run(run_id, entries[0][0], min(times), max(times), Conditions(), measurements)


def _own_measurement(row: dict[str, str]) -> tuple[str, Measurement]:
    server, failure = report.unescaped(row["server"]), report.unescaped(row["failure"])
    kind, _, message = failure.partition(": ")
    started_at = datetime.fromisoformat(row["timestamp"])
    if started_at.tzinfo is None:
        raise ValueError(f"the time {row['timestamp']} has no offset")
    numbers: dict[str, Any] = {n: float(row[n]) for n in report.COLUMNS[4:9] if row[n]}
    figures = Figures(**numbers, server=Server(name=server) if server else None)
    return report.unescaped(row["probe"]), Measurement(
        tool=report.unescaped(row["tool"]),
        started_at=started_at.astimezone(UTC),
        duration_s=0.0,  # not in the report; the schema wants a number
        figures=figures,
        failure=Failure(FailureKind(kind), message) if failure else None,
    )
