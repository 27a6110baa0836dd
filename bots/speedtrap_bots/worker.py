"""The worker of one channel: writes the letters that are missing and sends the ones that are due.

All state is in the ledger. A worker may be killed at any point and run in several copies:
an unfinished claim expires, an unfinished delivery becomes UNKNOWN and is never repeated blindly.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from speedtrap_bots.channel import Channel
from speedtrap_bots.errors import (
    LedgerAway,
    LedgerError,
    LedgerRefused,
    Refused,
    Unavailable,
    Unknown,
)
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.model import BreachMark, Claim, SettleOutcome
from speedtrap_bots.plan import missing_stage

log = logging.getLogger(__name__)

RETRY_LADDER_S = (5 * 60, 15 * 60, 3600, 4 * 3600, 24 * 3600)
"""Greylisting answers after minutes, a broken server after hours."""
LEASE_MARGIN_S = 2.0
"""What a lease must have left beyond the channel's own timeout when the first byte leaves."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
FROM_THE_BEGINNING = "0"


def now() -> datetime:
    return datetime.now(UTC)


class Backoff:
    """Growing pauses with jitter, so that many workers do not come back in step."""

    def __init__(self) -> None:
        self._pause_s = BACKOFF_FIRST_S

    def reset(self) -> None:
        self._pause_s = BACKOFF_FIRST_S

    def next_s(self) -> float:
        pause_s = self._pause_s
        self._pause_s = min(self._pause_s * 2, BACKOFF_MAX_S)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


class Worker:
    """Plans and delivers for *channel* until `stop` is called."""

    def __init__(
        self,
        ledger: Ledger,
        channel: Channel,
        *,
        name: str,
        poll_s: float,
        patrol_s: float,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._name = name
        self._poll_s = poll_s
        self._patrol_s = patrol_s
        self._clock = clock
        self._stopping = asyncio.Event()
        self._consumer = f"bots-{channel.name}"

    def stop(self) -> None:
        """Takes nothing new on; a delivery that has begun is finished and settled."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._until_stopped(self._watch))
            group.create_task(self._until_stopped(self._patrol))
            group.create_task(self._send_what_is_due())

    async def run_once(self) -> None:
        """One look at everything that can be done now."""
        await self.reconcile()
        if not self._channel.recipient:
            return
        while claim := await self._ledger.claim(self._channel.name, self._name):
            if not await self.send(claim):
                return

    async def reconcile(self) -> None:
        """Plans what is missing for breaches that are open or lately resolved."""
        for breach in await self._ledger.breaches():
            await self._plan_for(breach)

    async def _until_stopped(self, work: Callable[[], Awaitable[None]]) -> None:
        """Repeats *work*, which may be cut anywhere: planning is idempotent."""
        backoff = Backoff()
        while not self._stopping.is_set():
            task = asyncio.ensure_future(work())
            stopped = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                return
            try:
                task.result()
                backoff.reset()
            except LedgerError as error:
                pause_s = backoff.next_s()
                log.warning("%s: %s; next try in %.1f s", self._channel.name, error, pause_s)
                await self._pause(pause_s)

    async def _watch(self) -> None:
        after = await self._ledger.cursor(self._consumer) or FROM_THE_BEGINNING
        await self.reconcile()
        async with aclosing(self._ledger.events(after)) as events:  # type: ignore[type-var]  # an async generator, declared by what callers need
            async for event in events:
                if event.kind in {"OPENED", "RESOLVED"}:
                    await self._plan_for(event.breach)
                await self._ledger.save_cursor(self._consumer, event.cursor)
        raise LedgerAway("the stream of breach events ended")

    async def _patrol(self) -> None:
        """Catches what no event tells, such as an opening that went out while its breach ended."""
        await asyncio.sleep(self._patrol_s)
        await self.reconcile()

    async def _plan_for(self, mark: BreachMark) -> None:
        channel = self._channel
        stage = missing_stage(
            mark, channel=channel.name, recipient=channel.recipient, now=self._clock()
        )
        if stage is None:
            return
        breach = await self._ledger.evidence(mark.id)
        if breach is None or breach.status != mark.status:
            return  # it moved on since; its next event tells
        content = await asyncio.to_thread(channel.write, breach, stage)
        try:
            notice = await self._ledger.plan(
                breach.id,
                stage=stage,
                channel=channel.name,
                recipient=channel.recipient,
                content=content,
            )
        except LedgerRefused as error:
            log.error("%s: %s for %s not planned: %s", channel.name, stage, mark.reference, error)  # noqa: TRY400 - a refusal in words, not a bug
            return
        log.info("%s: planned %s for %s (%s)", channel.name, stage, mark.reference, notice.status)

    async def _send_what_is_due(self) -> None:
        if not self._channel.recipient:
            log.info("%s: not configured; notices are written and wait", self._channel.name)
            return
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                claim = await self._ledger.claim(self._channel.name, self._name)
                backoff.reset()
            except LedgerError as error:
                pause_s = backoff.next_s()
                log.warning("%s: %s; next try in %.1f s", self._channel.name, error, pause_s)
                await self._pause(pause_s)
                continue
            if claim is None:
                await self._pause(self._poll_s)
            elif not await self.send(claim):
                return

    async def send(self, claim: Claim) -> bool:
        """Delivers the claimed notice and settles it. False when the channel must stop."""
        left_s = (claim.lease_until - self._clock()).total_seconds()
        if left_s < self._channel.timeout_s + LEASE_MARGIN_S:
            # Begun now, the delivery might outlive the lease and meet another worker's.
            log.warning(
                "%s: a lease of %.0f s is too short for a delivery", self._channel.name, left_s
            )
            await self._pause(self._poll_s)
            return True
        try:
            if not await self._ledger.begin(claim):
                log.info("%s: %s may not be sent now", self._channel.name, claim.notice.reference)
                return True
        except LedgerError as error:
            # It may have been recorded, but nothing has left: say so, or it would end as UNKNOWN.
            await self._settle(claim, SettleOutcome.UNAVAILABLE, detail=str(error), retry_s=1)
            return True
        return await self._deliver(claim)

    async def _deliver(self, claim: Claim) -> bool:
        try:
            async with asyncio.timeout(self._channel.timeout_s):
                reference = await self._channel.deliver(claim.notice)
        except Refused as error:
            await self._settle(claim, SettleOutcome.REFUSED, detail=str(error))
        except Unavailable as error:
            retry_s = error.retry_after_s or _ladder_s(claim.notice.attempts)
            await self._settle(claim, SettleOutcome.UNAVAILABLE, detail=str(error), retry_s=retry_s)
            if error.stops_channel:
                log.error("%s: stopped until the next start: %s", self._channel.name, error)  # noqa: TRY400 - one clear line for the operator
                return False
        except Unknown as error:
            await self._settle(claim, SettleOutcome.UNKNOWN, detail=str(error))
        except TimeoutError:
            detail = f"no end after {self._channel.timeout_s:.0f} s"
            await self._settle(claim, SettleOutcome.UNKNOWN, detail=detail)
        else:
            await self._settle(claim, SettleOutcome.SENT, reference=reference)
        return True

    async def _settle(
        self,
        claim: Claim,
        outcome: SettleOutcome,
        *,
        reference: str | None = None,
        detail: str | None = None,
        retry_s: float | None = None,
    ) -> None:
        """Tells the ledger, however long it is away: only this worker knows how the delivery ended.

        When it is stopped before, the lease runs out and the ledger says UNKNOWN itself.
        """
        retry_at = None if retry_s is None else self._clock() + timedelta(seconds=retry_s)
        backoff = Backoff()
        while True:
            try:
                status = await self._ledger.settle(
                    claim, outcome, reference=reference, detail=detail, retry_at=retry_at
                )
            except LedgerAway as error:
                if self._stopping.is_set() and self._clock() > claim.lease_until:
                    log.error("%s: %s not settled: %s", self._name, claim.notice.id, error)  # noqa: TRY400 - a state, not a bug
                    return
                await asyncio.sleep(backoff.next_s())
            except LedgerRefused as error:
                log.error("%s: %s not settled: %s", self._name, claim.notice.id, error)  # noqa: TRY400 - a state, not a bug
                return
            else:
                log.info(
                    "%s: %s %s is %s%s",
                    self._channel.name,
                    claim.notice.stage,
                    claim.notice.reference,
                    status,
                    f" ({detail})" if detail else "",
                )
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _ladder_s(attempts: int) -> float:
    """The pause after so many attempts (this one may or may not be counted yet)."""
    return RETRY_LADDER_S[min(max(attempts - 1, 0), len(RETRY_LADDER_S) - 1)]
