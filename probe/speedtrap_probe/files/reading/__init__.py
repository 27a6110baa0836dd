"""Reads reports back: ours, and the first speedtrap's; also as spreadsheets save them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from speedtrap_probe.files import report
from speedtrap_probe.files.reading import old, own, table
from speedtrap_probe.files.reading.old import old_mbps
from speedtrap_probe.model import Run

__all__ = ["EXPECTED", "Reading", "old_mbps", "read"]

EXPECTED = (
    f"expected is a report of this probe ({report.HEADER}) or of the first speedtrap "
    f"({old.HEADER}), as CSV with commas, semicolons or tabs"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The runs in a report, the lines that made no sense, each with the reason, and what people
    should know of how the others were read."""

    runs: Sequence[Run] = field(default_factory=tuple)
    problems: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


def read(path: Path, probe: str, time_zone: tzinfo | None = None) -> Reading:
    """Reads either format. Local times are of *time_zone* (default: this machine's).

    Raises ProbeError when the file cannot be read at all.
    """
    found = table.of(table.lines_of(path))
    if own.is_own(found):
        runs, problems = own.runs_of(found)
        return Reading(runs, problems)
    return Reading(*old.runs_of(found, probe, time_zone))
