"""This probe's report, back again: a run is the rows that have its id."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from speedtrap_probe.files import report
from speedtrap_probe.files.reading.table import Row, Table
from speedtrap_probe.foreign.credible import admitted
from speedtrap_probe.model import (
    Conditions,
    Failure,
    FailureKind,
    Figures,
    Measurement,
    Run,
    Server,
)

NEEDED = ("timestamp", "run_id", "probe", "tool")
NUMBERS = report.COLUMNS[4:9]
# Excel leaves out what is empty at a row's end.
MAY_BE_MISSING = 1


def is_own(table: Table) -> bool:
    if table.header:
        return set(NEEDED) <= set(table.header)
    return bool(table.rows) and len(table.rows[0].cells) == len(report.COLUMNS)


def runs_of(table: Table) -> tuple[list[Run], list[str]]:
    """The runs, and the lines that are none."""
    rows: dict[UUID, list[tuple[str, Measurement]]] = {}
    problems = []
    header = table.header or report.COLUMNS
    for row in table.rows:
        try:
            cells = _by_name(header, row)
            probe, measurement = _measurement(cells, decimal_comma=table.delimiter != ",")
            rows.setdefault(_uuid(cells["run_id"]), []).append((probe, measurement))
        except ValueError as error:
            problems.append(f"line {row.line}: {error}")
    return list(_runs(rows.items())), problems


def _by_name(header: Sequence[str], row: Row) -> Mapping[str, str]:
    missing = len(header) - len(row.cells)
    if missing < 0 or missing > MAY_BE_MISSING:
        raise ValueError(f"{len(header)} cells expected, {len(row.cells)} found: was it cut off?")
    return dict(zip(header, [*row.cells, *[""] * missing], strict=True))


def _runs(rows: Iterable[tuple[UUID, list[tuple[str, Measurement]]]]) -> Iterator[Run]:
    for run_id, entries in rows:
        times = [measurement.started_at for _, measurement in entries]
        measurements = tuple(measurement for _, measurement in entries)
        yield Run(run_id, entries[0][0], min(times), max(times), Conditions(), measurements)


def _measurement(cells: Mapping[str, str], *, decimal_comma: bool) -> tuple[str, Measurement]:
    numbers = {
        name: _number(name, cells[name].strip(), decimal_comma=decimal_comma)
        for name in NUMBERS
        if cells.get(name, "").strip()
    }
    server = report.unescaped(cells.get("server", ""))
    failure = _failure(report.unescaped(cells.get("failure", "")))
    if failure is None and not numbers:
        raise ValueError("there is neither a figure nor a failure")
    figures = Figures(server=Server(name=server) if server else None, **numbers)  # type: ignore[arg-type] # the numeric fields
    measurement = Measurement(
        tool=report.unescaped(cells["tool"]).strip(),
        started_at=_moment(cells["timestamp"].strip()),
        duration_s=0.0,  # not in the report; the schema wants a number
        figures=figures,
        failure=failure,
    )
    return report.unescaped(cells["probe"]).strip(), admitted(measurement)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"timestamp must be a time like 2026-11-24T18:30:00.000+01:00: {text[:40]!r}"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"the time {text} has no offset")
    return moment.astimezone(UTC)


def _number(name: str, text: str, *, decimal_comma: bool) -> float:
    plain = text
    if decimal_comma and "," in text:
        plain = text.replace(".", "").replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        raise ValueError(f"{name} must be a number: {text[:40]!r}") from None


def _failure(text: str) -> Failure | None:
    kind, _, message = text.partition(": ")
    if not text:
        return None
    try:
        return Failure(FailureKind(kind), message)
    except ValueError:
        allowed = ", ".join(FailureKind)
        raise ValueError(f"failure must begin with one of {allowed}: {text[:40]!r}") from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError:
        raise ValueError(f"run_id must be a UUID: {text[:40]!r}") from None
