#!/opt/speedtrap/bin/python
"""Whether the probe has measured within twice the time between two runs: a row a run in its table.

speedtrap-measured /var/lib/speedtrap/probe/report.csv 1h
"""

import sys
import time
from pathlib import Path

from speedtrap_probe.schedule import interval


def measured(table: Path, every: str) -> bool:
    """Failed tools have rows too: this is about the probe, not about the line."""
    if not table.exists():
        return False
    return time.time() - table.stat().st_mtime < 2 * interval.seconds(every)


if __name__ == "__main__":
    sys.exit(0 if measured(Path(sys.argv[1]), sys.argv[2]) else 1)
