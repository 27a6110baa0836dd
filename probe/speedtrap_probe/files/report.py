"""`report.csv`: one row a measurement, for people and spreadsheets."""

import csv
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speedtrap_probe.errors import ProbeError
from speedtrap_probe.model import Measurement, Run, Server

COLUMNS = (
    "timestamp",
    "run_id",
    "probe",
    "tool",
    "download_mbps",
    "upload_mbps",
    "latency_ms",
    "jitter_ms",
    "packet_loss_ratio",
    "server",
    "failure",
)
HEADER = ",".join(COLUMNS)
# A cell that starts like this is run as a formula by spreadsheets.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def append(path: Path, run: Run) -> Path:
    """Adds the run's rows in one write and returns the file written.

    That is *path*, unless a file of another format is there (the first speedtrap's report):
    then one beside it, because mixing the two would spoil both.
    """
    for candidate in _candidates(path):
        try:
            if _append(candidate, run):
                return candidate
        except OSError as error:
            raise ProbeError(f"{candidate} cannot be written: {error.strerror}") from error
    raise ProbeError(f"{path} and the files beside it are not reports of this speedtrap")


def escaped(cell: str) -> str:
    """Harmless in a spreadsheet."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def unescaped(cell: str) -> str:
    """The inverse of `escaped`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _append(path: Path, run: Run) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer: what a full disk did not take must not be tried again at the file's end.
    with path.open("a+b", buffering=0) as file, _locked(file.fileno()):
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(0)
            if file.read(len(HEADER)).decode(errors="replace") != HEADER:
                return False
            file.seek(-1, os.SEEK_END)
            # A row that a power cut left unfinished must not swallow the next one.
            lead = "" if file.read(1) == b"\n" else "\n"
        else:
            lead = HEADER + "\n"
        try:
            _write_all(file.fileno(), (lead + _rows(run)).encode())
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)  # no half row is left on a full disk
            raise
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _rows(run: Run) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for measurement in run.measurements:
        writer.writerow(_row(run, measurement))
    return text.getvalue()


def _row(run: Run, measurement: Measurement) -> list[str]:
    figures, failure = measurement.figures, measurement.failure
    numbers = (
        figures.download_mbps,
        figures.upload_mbps,
        figures.latency_ms,
        figures.jitter_ms,
        figures.packet_loss_ratio,
    )
    return [
        measurement.started_at.astimezone().isoformat(timespec="milliseconds"),
        str(run.id),
        escaped(run.probe),
        escaped(measurement.tool),
        *("" if number is None else f"{number:.6g}" for number in numbers),
        escaped(_server(figures.server)),
        escaped(f"{failure.kind}: {failure.message}") if failure else "",
    ]


def _server(server: Server | None) -> str:
    """The most telling of its names."""
    public = server.public if server else None
    return (public.name or public.host or public.id or "") if public else ""


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """No other process of ours writes meanwhile (two must not both write the header)."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - exists on Windows only

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl  # noqa: PLC0415 - does not exist on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield  # the lock goes with the descriptor
