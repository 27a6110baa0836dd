"""Who asked to be left alone, and until when (`Retry-After`, RFC 9110 section 10.2.3).

Remembered by all tools of a run, by retests, and by later runs (`state.py`).
"""

import threading
import time
from collections.abc import Mapping
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

    def keep_all(self, waits_s: Mapping[str, float]) -> None:
        """What an earlier process was told; never for longer than one that hears it now."""
        for origin, wait_s in waits_s.items():
            self.keep(origin, min(wait_s, MOST_S))

    def wait_s(self, origin: str) -> float:
        """How long still; 0 when it may be asked."""
        with self._lock:
            left_s = self._until_s.get(origin, 0.0) - time.monotonic()
            if left_s <= 0:
                self._until_s.pop(origin, None)
        return max(0.0, left_s)

    def waits_s(self) -> dict[str, float]:
        """All of them that are not over."""
        waits = {origin: self.wait_s(origin) for origin in tuple(self._until_s)}
        return {origin: left_s for origin, left_s in waits.items() if left_s}


KEPT = Limits()


def retry_after_s(headers: Message, now: datetime) -> float | None:
    """Seconds, or a date; None where nothing is told, or nothing that can be read."""
    told = (headers.get("Retry-After") or "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told[:9]), MOST_S)
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), MOST_S)


def again_at(wait_s: float, now: datetime) -> str:
    """For a message."""
    return f"again from {now + timedelta(seconds=wait_s):%H:%M} UTC"
