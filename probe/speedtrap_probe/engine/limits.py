"""Who asked to be left alone, and until when (`Retry-After`, RFC 9110 section 10.2.3).

Remembered while the process runs: by all tools, by retests, and by the later runs of `watch`.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime

MOST_S = 24 * 3600.0  # Cloudflare names up to an hour; no mistake of a server ends a tool for good


@dataclass(slots=True)
class Limits:
    """By origin (`https://host:port`) the monotonic moment from which to ask again."""

    _until_s: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, origin: str, wait_s: float) -> None:
        with self._lock:
            self._until_s[origin] = time.monotonic() + wait_s

    def wait_s(self, origin: str) -> float:
        """How long still; 0 when it may be asked."""
        with self._lock:
            left_s = self._until_s.get(origin, 0.0) - time.monotonic()
            if left_s <= 0:
                self._until_s.pop(origin, None)
        return max(0.0, left_s)


KEPT = Limits()


def retry_after_s(headers: Message, now: datetime) -> float | None:
    """Seconds, or a date; None where nothing is told, or nothing that can be read."""
    told = (headers.get("Retry-After") or "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told[:9]), MOST_S)
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), MOST_S)


def again_at(wait_s: float, now: datetime) -> str:
    """For a message."""
    return f"again from {now + timedelta(seconds=wait_s):%H:%M} UTC"
