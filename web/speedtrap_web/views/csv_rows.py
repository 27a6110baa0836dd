"""Runs as rows, one a measurement, in the columns of the probe's own report.csv."""

import csv
import io
from collections.abc import Iterable

from speedtrap_web.graphql.answers import Measurement, Run

COLUMNS = (
    "timestamp", "run_id", "probe", "tool", "download_mbps", "upload_mbps", "latency_ms",
    "jitter_ms", "packet_loss_ratio", "server", "failure",
)  # fmt: skip
_RISKY = ("=", "+", "-", "@", "\t", "\r")


def header() -> str:
    return _lines([COLUMNS])


def rows(runs: Iterable[Run]) -> str:
    return _lines(_row(run, measurement) for run in runs for measurement in run.measurements)


def _row(run: Run, measurement: Measurement) -> list[object]:
    server, failure = measurement.server, measurement.failure
    named = [part for part in (server.name, server.location) if part] if server else []
    return [
        run.started_at.isoformat(),
        run.id,
        run.probe,
        measurement.tool,
        measurement.download_mbps,
        measurement.upload_mbps,
        measurement.latency_ms,
        measurement.jitter_ms,
        measurement.packet_loss_ratio,
        harmless(", ".join(named)),
        harmless(f"{failure.kind}: {failure.message}") if failure else "",
    ]


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


def _lines(rows: Iterable[Iterable[object]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()
