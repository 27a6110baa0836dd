"""Hand-written builders of runs as a probe submits them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

SUBMIT = """
mutation($runs: [RunInput!]!) {
  submitRuns(runs: $runs) { accepted duplicates rejected { id index field message } }
}
"""


def a_run(
    download_mbps: float | None = 500.0,
    *,
    hours_ago: float = 1.0,
    probe: str = "laptop",
    tool: str = "ookla",
    **changes: Any,
) -> dict[str, Any]:
    """A run of one internet tool; without a throughput, of one that failed. Changes go on top."""
    started = datetime.now(UTC) - timedelta(hours=hours_ago)
    measurement: dict[str, Any] = {
        "tool": tool,
        "startedAt": started.isoformat(),
        "durationS": 20.0,
    }
    if download_mbps is None:
        measurement["failure"] = {"kind": "TOOL_FAILED", "message": "exit code 1"}
    else:
        measurement |= {"downloadMbps": download_mbps, "uploadMbps": 80.0, "latencyMs": 12.5}
    run = {
        "id": str(uuid4()),
        "probe": probe,
        "startedAt": started.isoformat(),
        "finishedAt": (started + timedelta(seconds=30)).isoformat(),
        "conditions": {"lineUp": True, "medium": "WIRED", "platform": "linux"},
        "measurements": [measurement],
    }
    return {**run, **changes}


def slow_runs(count: int, download_mbps: float = 120.0, **changes: Any) -> list[dict[str, Any]]:
    """One an hour, oldest first, the last two hours ago."""
    return [a_run(download_mbps, hours_ago=count - place + 1, **changes) for place in range(count)]
