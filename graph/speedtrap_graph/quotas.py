"""How often a key may ask: so many requests a minute by role, counted in this process alone.

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


@dataclass
class Quotas:
    """A bucket for each caller, as large as a minute's quota and refilled steadily.

    A role that is missing from *per_minute* may ask without end.
    """

    per_minute: Mapping[Role, int] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    refused_count: int = 0
    _buckets: dict[Caller, tuple[float, float]] = field(default_factory=dict, repr=False)

    def take(self, caller: Caller) -> float | None:
        """None when the request may pass, else the seconds after which the next one may."""
        quota = self.per_minute.get(caller.role)
        if quota is None:
            return None
        now = self.now()
        left, seen = self._buckets.get(caller, (float(quota), now))
        left = min(float(quota), left + (now - seen) * quota / 60)
        if left < 1:
            self._buckets[caller] = (left, now)
            self.refused_count += 1
            return (1 - left) * 60 / quota
        self._buckets[caller] = (left - 1, now)
        return None


def rate_limited(caller: Caller, wait_s: float) -> GraphQLError:
    refusal = RateLimitedError(
        f"The key of {caller.name!r} has asked too often; ask again in {math.ceil(wait_s)} s.",
        details={"retryAfterS": math.ceil(wait_s)},
    )
    return GraphQLError(str(refusal), original_error=refusal)
