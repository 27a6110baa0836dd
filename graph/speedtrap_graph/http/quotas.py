"""How often a key may ask, how much it may send, and how much processor time it may cost: so much a
minute by role, counted in this process alone.

Several copies of the service count each for itself: with three of them a key has up to three times
its quota, which is still a bound, and costs no round trip to the database.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Self, cast

from graphql import GraphQLError

from speedtrap_graph.errors import RateLimitedError
from speedtrap_graph.http.callers import Caller, Role

BYTES_PER_MINUTE: Mapping[Role, int] = {Role.PROBE: 32 * 2**20}
"""Some 15,000 runs. A year of hourly ones is imported in half a minute."""
CPU_S_PER_MINUTE: Mapping[Role, float] = {
    Role.PROBE: 15.0,
    Role.VIEWER: 30.0,
    Role.BOT: 30.0,
    Role.ADMIN: 30.0,
}
"""Of the event loop's one thread, which has 60: no key alone takes more than half of it."""


@dataclass
class Quotas:
    """Buckets for each caller, as large as a minute's quota and refilled steadily.

    A role that is missing from *per_minute* may ask without end, and send and cost as much as it
    likes; one that is missing from another quota may do so of that alone.
    """

    per_minute: Mapping[Role, int] = field(default_factory=dict)
    bytes_per_minute: Mapping[Role, int] = field(default_factory=lambda: BYTES_PER_MINUTE)
    cpu_s_per_minute: Mapping[Role, float] = field(default_factory=lambda: CPU_S_PER_MINUTE)
    now: Callable[[], float] = time.monotonic
    refused_count: int = 0
    _buckets: dict[tuple[str, Caller], tuple[float, float]] = field(
        default_factory=dict, repr=False
    )

    def take(self, caller: Caller) -> float | None:
        """None when the request may pass, else the seconds after which the next one may."""
        quota = self.per_minute.get(caller.role)
        if quota is None:
            return None
        wait_s = max(self._debt_s("bytes", caller), self._debt_s("cpu", caller))
        left = self._left("requests", caller, quota)
        if left < 1 or wait_s > 0:
            self._buckets["requests", caller] = (left, self.now())
            self.refused_count += 1
            return max(wait_s, (1 - left) * 60 / quota)
        self._buckets["requests", caller] = (left - 1, self.now())
        return None

    def charge(self, caller: Caller, size: int) -> None:
        """*caller* has sent *size* bytes. What is too much is paid off before its next request."""
        self._charge("bytes", caller, size)

    def charge_cpu(self, caller: Caller, seconds: float) -> None:
        """*caller* has cost so much processor time, which is paid off in the same way."""
        self._charge("cpu", caller, seconds)

    def _charge(self, what: str, caller: Caller, amount: float) -> None:
        quota = self._quota(what, caller)
        if quota is not None:
            self._buckets[what, caller] = (self._left(what, caller, quota) - amount, self.now())

    def _debt_s(self, what: str, caller: Caller) -> float:
        quota = self._quota(what, caller)
        if quota is None:
            return 0.0
        return max(0.0, -self._left(what, caller, quota) * 60 / quota)

    def _quota(self, what: str, caller: Caller) -> float | None:
        if caller.role not in self.per_minute:
            return None
        return (self.bytes_per_minute if what == "bytes" else self.cpu_s_per_minute).get(
            caller.role
        )

    def _left(self, what: str, caller: Caller, quota: float) -> float:
        now = self.now()
        left, seen = self._buckets.get((what, caller), (float(quota), now))
        return min(float(quota), left + (now - seen) * quota / 60)


def rate_limited(caller: Caller, wait_s: float) -> GraphQLError:
    refusal = RateLimitedError(
        f"The key of {caller.name!r} has asked too often, sent too much or cost too much processor "
        f"time; ask again in {math.ceil(wait_s)} s.",
        details={"retryAfterS": math.ceil(wait_s)},
    )
    return GraphQLError(str(refusal), original_error=refusal)


Charge = Callable[[float], None]
_charge_of_this_task: ContextVar[Charge | None] = ContextVar("charge", default=None)


class Metered(Coroutine[Any, Any, Any]):
    """Stands for *work*, and charges the processor time that this thread spends in its steps, not
    what others do while it waits. Tasks that it starts are charged alike, if their loop has
    `meter_tasks`.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], charge: Charge) -> None:
        self._work = work
        self._charge = charge

    def send(self, value: Any) -> Any:
        begun = time.thread_time()
        try:
            return self._work.send(value)
        finally:
            self._charge(time.thread_time() - begun)

    def throw(self, *error: Any) -> Any:
        begun = time.thread_time()
        try:
            return self._work.throw(*error)
        finally:
            self._charge(time.thread_time() - begun)

    def close(self) -> None:
        self._work.close()

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> Self:
        return self

    def __await__(self) -> Generator[Any, Any, Any]:
        return cast("Generator[Any, Any, Any]", self)


async def metered(work: Coroutine[Any, Any, Any], charge: Charge) -> Any:
    token = _charge_of_this_task.set(charge)
    try:
        return await Metered(work, charge)
    finally:
        _charge_of_this_task.reset(token)


def meter_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Tasks that metered work starts on *loop* are charged to whoever it works for."""

    def make(
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        context: Context | None = None,
        **more: Any,
    ) -> asyncio.Task[Any]:
        known = copy_context() if context is None else context
        charge = known.get(_charge_of_this_task)
        if charge is not None and asyncio.iscoroutine(work):
            work = Metered(work, charge)
        return asyncio.Task(work, loop=loop, context=context, **more)

    loop.set_task_factory(make)
