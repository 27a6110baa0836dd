"""How often a key may ask, and how much it may send: so many requests a minute by role, and so many
bytes by a probe, counted in this process alone.

Several copies of the service count each for itself: with three of them a key has up to three times
its quota, which is still a bound, and costs no round trip to the database.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graphql import GraphQLError

from speedtrap_graph.callers import Caller, Role
from speedtrap_graph.services.errors import RateLimitedError

BYTES_PER_MINUTE: Mapping[Role, int] = {Role.PROBE: 32 * 2**20}
"""Some 15,000 runs. A year of hourly ones is imported in half a minute."""


@dataclass
class Quotas:
    """A bucket for each caller, as large as a minute's quota and refilled steadily.

    A role that is missing from *per_minute* may ask without end, and send as much as it likes; one
    that is missing from *bytes_per_minute* may do the latter.
    """

    per_minute: Mapping[Role, int] = field(default_factory=dict)
    bytes_per_minute: Mapping[Role, int] = field(default_factory=lambda: BYTES_PER_MINUTE)
    now: Callable[[], float] = time.monotonic
    refused_count: int = 0
    _buckets: dict[Caller, tuple[float, float]] = field(default_factory=dict, repr=False)
    _sent: dict[Caller, tuple[float, float]] = field(default_factory=dict, repr=False)

    def take(self, caller: Caller) -> float | None:
        """None when the request may pass, else the seconds after which the next one may."""
        quota = self.per_minute.get(caller.role)
        if quota is None:
            return None
        now = self.now()
        wait_s = self._until_bytes(caller, now)
        left, seen = self._buckets.get(caller, (float(quota), now))
        left = min(float(quota), left + (now - seen) * quota / 60)
        if left < 1 or wait_s > 0:
            self._buckets[caller] = (left, now)
            self.refused_count += 1
            return max(wait_s, (1 - left) * 60 / quota)
        self._buckets[caller] = (left - 1, now)
        return None

    def charge(self, caller: Caller, size: int) -> None:
        """*caller* has sent *size* bytes. What is too much is paid off before its next request."""
        quota = self.bytes_per_minute.get(caller.role)
        if quota is not None and caller.role in self.per_minute:
            now = self.now()
            self._sent[caller] = (self._bytes_left(caller, quota, now) - size, now)

    def _until_bytes(self, caller: Caller, now: float) -> float:
        quota = self.bytes_per_minute.get(caller.role)
        if quota is None or caller not in self._sent:
            return 0.0
        return max(0.0, -self._bytes_left(caller, quota, now) * 60 / quota)

    def _bytes_left(self, caller: Caller, quota: int, now: float) -> float:
        left, seen = self._sent.get(caller, (float(quota), now))
        return min(float(quota), left + (now - seen) * quota / 60)


def rate_limited(caller: Caller, wait_s: float) -> GraphQLError:
    refusal = RateLimitedError(
        f"The key of {caller.name!r} has asked too often or sent too much; ask again in "
        f"{math.ceil(wait_s)} s.",
        details={"retryAfterS": math.ceil(wait_s)},
    )
    return GraphQLError(str(refusal), original_error=refusal)
