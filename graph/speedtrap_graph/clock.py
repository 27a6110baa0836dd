"""The time is handed in, so that every service can be told what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime

from speedtrap_graph.timestamps import in_milliseconds

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    return in_milliseconds(datetime.now(UTC))
