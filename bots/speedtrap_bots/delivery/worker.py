"""The worker of one channel: writes the letters that are missing and sends the ones that are due.

All state is in the ledger. A worker may be killed at any point and run in several copies:
an unfinished claim expires, an unfinished delivery becomes UNKNOWN and is never repeated blindly.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from speedtrap_bots.channel import Channel, Delivered
from speedtrap_bots.delivery.lease import MARGIN_S, Lease, now_s
from speedtrap_bots.delivery.missing_stage import missing_stage
from speedtrap_bots.delivery.presence import Presence
from speedtrap_bots.errors import (
    ChannelError,
    LedgerAway,
    LedgerError,
    LedgerFailed,
    LedgerRefused,
    LetterError,
    Refused,
    Unavailable,
    Unknown,
    one_line,
)
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.logs import About
from speedtrap_bots.model import (
    Breach,
    BreachSummary,
    ChannelState,
    Claim,
    Notice,
    SettleOutcome,
    Stage,
)

log = logging.getLogger(__name__)

RETRY_LADDER_S = (5 * 60, 15 * 60, 3600, 4 * 3600, 24 * 3600)
"""Greylisting answers after minutes, a broken server after hours."""
WRITE_TIMEOUT_S = 60.0
LOOK_AGAIN_S = 15 * 60.0
"""After a look-up that failed itself."""
FAREWELL_S = 2.0
SETTLE_AFTER_STOP_S = 10.0
"""How long a bot that was told to end still tries to say how a delivery ended."""
SETTLE_FAILURES = 5
"""So often may graph fail at one settlement before it is left to a person."""
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
        retry_ladder_s: Sequence[float] = RETRY_LADDER_S,
        look_again_s: float = LOOK_AGAIN_S,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._log = About(log, {"channel": channel.name})
        self._name = name
        self._poll_s = poll_s
        self._patrol_s = patrol_s
        self._retry_ladder_s = retry_ladder_s
        self._look_again_s = look_again_s
        self._clock = clock
        self._stopping = asyncio.Event()
        self._consumer = f"bots-{channel.name}"
        self._presence = Presence(ledger, channel, name, clock)

    def stop(self) -> None:
        """Takes nothing new on; a delivery that has begun is finished and settled."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._until_stopped(self._watch))
            group.create_task(self._until_stopped(self._patrol))
            group.create_task(self._send_what_is_due())
            group.create_task(self._attend())
            if self._channel.looks_up and self._channel.recipient:
                group.create_task(self._until_stopped(self._look_up_what_is_unknown))

    async def run_once(self) -> None:
        """One look at everything that can be done now."""
        await self.reconcile()
        if self._channel.recipient:
            while self._channel.looks_up and await self._look_up_one():
                continue
            while await self._send_one():
                continue
        await self._presence.attend()

    async def _send_one(self) -> bool:
        """Whether there was one, and may be another."""
        if self._presence.stopped_why or self._channel.quiet_until(self._clock()):
            return False
        asked_at_s = now_s()
        claim = await self._ledger.claim(self._channel.name, self._name)
        if claim is None:
            return False
        await self.send(claim, asked_at_s)
        return True

    async def reconcile(self) -> None:
        """Plans what is missing for breaches that are open or lately resolved, and the digest."""
        for breach in await self._ledger.breaches():
            await self._plan_for(breach)
        if self._channel.recipient and Stage.DIGEST in self._channel.stages:
            await self._plan_digest()

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
                words, facts = "%s: %s; next try in %.1f s", {"retry_in_s": round(pause_s, 1)}
                self._log.warning(words, self._channel.name, error, pause_s, extra=facts)
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

    async def _plan_for(self, mark: BreachSummary) -> None:
        channel = self._channel
        if not (channel.recipient or channel.drafts):
            return
        stage = missing_stage(
            mark,
            channel=channel.name,
            recipient=channel.recipient,
            now=self._clock(),
            stages=channel.stages,
        )
        if stage is None:
            return
        breach = await self._ledger.evidence(mark.id)
        if breach is None or breach.status != mark.status:
            return  # it moved on since; its next event tells
        await self._plan(breach, stage)

    async def _plan_digest(self) -> None:
        channel = self._channel
        due = await self._ledger.due_for_digest(channel.name, channel.recipient)
        found = [await self._ledger.evidence(breach_id) for breach_id in due]
        covered = [breach for breach in found if breach is not None]
        if covered:
            await self._plan(covered[-1], Stage.DIGEST, covered)

    async def _plan(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> None:
        channel = self._channel
        about = {"breach_id": breach.id, "reference": breach.reference, "stage": stage}
        try:
            # A letter takes a fraction of a second; a template of the operator's may take for ever.
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                content = await asyncio.to_thread(channel.write, breach, stage, covered)
            notice = await self._ledger.draft(
                breach.id,
                stage=stage,
                channel=channel.name,
                recipient=channel.recipient,
                content=content,
                covers=[other.id for other in covered],
            )
        except (LedgerRefused, LetterError, TimeoutError) as error:
            words = "%s: %s for %s not planned: %s"
            self._log.error(words, channel.name, stage, breach.reference, error, extra=about)
            return
        about["status"] = notice.status
        words = "%s: planned %s for %s (%s)"
        self._log.info(words, channel.name, stage, breach.reference, notice.status, extra=about)

    async def _send_what_is_due(self) -> None:
        if not self._channel.recipient:
            self._log.info("%s: not configured; notices are written and wait", self._channel.name)
            return
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                if not await self._send_one():
                    await self._pause(self._poll_s)
                backoff.reset()
            except LedgerError as error:
                pause_s = backoff.next_s()
                words, facts = "%s: %s; next try in %.1f s", {"retry_in_s": round(pause_s, 1)}
                self._log.warning(words, self._channel.name, error, pause_s, extra=facts)
                await self._pause(pause_s)

    async def _attend(self) -> None:
        """Beside all else: a test that was begun is finished and settled."""
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                await self._presence.attend()
                backoff.reset()
                await self._pause(self._poll_s)
            except LedgerAway:
                await self._pause(backoff.next_s())  # who sends and who watches say so
            except LedgerRefused as error:
                self._log.warning("%s: does not say how it is: %s", self._channel.name, error)
                await self._pause(BACKOFF_MAX_S)
        with contextlib.suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._presence.report(ChannelState.ENDED)

    async def send(self, claim: Claim, asked_at_s: float) -> None:
        """Delivers the claimed notice and settles it.

        *asked_at_s* is when the claim was asked for: its lease began no earlier.
        """
        needed_s = self._channel.timeout_s + MARGIN_S
        if claim.sending_lease_s < needed_s or Lease(asked_at_s, claim.lease_s).left_s < MARGIN_S:
            # Begun now, the delivery might outlive the lease and meet another worker's.
            self._log.warning(
                "%s: a delivery needs %.0f s of lease; there are %.0f to claim, %.0f to send",
                self._channel.name,
                needed_s,
                claim.lease_s,
                claim.sending_lease_s,
            )
            await self._pause(self._poll_s)
            return
        lease = Lease(now_s(), claim.sending_lease_s)
        try:
            if not await self._ledger.begin(claim):
                words = "%s: %s may not be sent now"
                reference = claim.notice.reference
                self._log.info(words, self._channel.name, reference, extra=_about(claim.notice))
                return
        except LedgerError as error:
            # It may have been recorded, but nothing has left: say so, or it would end as UNKNOWN.
            await self._settle(claim, SettleOutcome.UNAVAILABLE, detail=str(error), retry_s=1)
            return
        if lease.left_s < needed_s:
            detail = "the ledger's answer came too late to begin"
            await self._settle(claim, SettleOutcome.UNAVAILABLE, detail=detail, retry_s=1)
            return
        await self._deliver(claim, lease)

    async def _look_up_what_is_unknown(self) -> None:
        if not await self._look_up_one():
            await asyncio.sleep(self._poll_s)

    async def _look_up_one(self) -> bool:
        """Whether there was one whose time had come, and may be another."""
        channel = self._channel
        if self._presence.stopped_why:
            return False
        claim = await self._ledger.claim_check(channel.name, self._name)
        if claim is None:
            return False
        try:
            async with asyncio.timeout(channel.timeout_s):
                reference = await channel.look_up(claim.notice)
        except Exception as error:  # noqa: BLE001 - whatever the other side made a library raise
            detail = f"could not be looked up: {_in_words(error)}"
            retry_s = getattr(error, "retry_after_s", None) or self._look_again_s
            await self._settle(claim, SettleOutcome.UNKNOWN, detail=detail, retry_s=retry_s)
            if isinstance(error, Unavailable) and error.stops_channel:
                self._presence.stop(error)
            return True
        if reference is None:
            detail = "looked it up, and it is not there"
            await self._settle(claim, SettleOutcome.NOT_FOUND, detail=detail)
        else:
            detail = "looked it up, and it is there"
            await self._settle(claim, SettleOutcome.SENT, reference=reference, detail=detail)
        return True

    async def _deliver(self, claim: Claim, lease: Lease) -> None:
        try:
            async with asyncio.timeout(self._channel.timeout_s):
                said = await self._channel.deliver(claim.notice, lease.may_send)
        except Refused as error:
            await self._settle(claim, SettleOutcome.REFUSED, detail=str(error))
        except Unavailable as error:
            retry_s = error.retry_after_s or self._ladder_s(claim.notice.attempts)
            await self._settle(
                claim,
                SettleOutcome.UNAVAILABLE,
                reference=error.reference,
                detail=str(error),
                retry_s=retry_s,
            )
            if error.stops_channel:
                self._presence.stop(error)
        except Unknown as error:
            await self._settle(
                claim, SettleOutcome.UNKNOWN, reference=error.reference, detail=str(error)
            )
        except TimeoutError:
            detail = f"no end after {self._channel.timeout_s:.0f} s"
            await self._settle(claim, SettleOutcome.UNKNOWN, detail=detail)
        except Exception as error:  # noqa: BLE001 - whatever the other side made a library raise
            await self._settle(claim, SettleOutcome.UNKNOWN, detail=_in_words(error))
        else:
            sent = said if isinstance(said, Delivered) else Delivered(said)
            await self._settle(
                claim, SettleOutcome.SENT, reference=sent.reference, detail=sent.detail
            )

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

        Where that cannot be done the lease runs out, and the ledger says UNKNOWN itself.
        """
        detail = None if detail is None else one_line(detail)
        reference = None if reference is None else one_line(reference)
        retry_at = None if retry_s is None else self._clock() + timedelta(seconds=retry_s)
        about, words = _about(claim.notice), "%s: %s not settled as %s: %s"
        given = (self._channel.name, claim.notice.reference, outcome)
        try:
            status = await self._persistently(
                lambda: self._ledger.settle(
                    claim, outcome, reference=reference, detail=detail, retry_at=retry_at
                ),
                about,
            )
        except LedgerError as error:
            self._log.error(words, *given, error, extra={**about, "outcome": outcome})
            return
        self._log.info(
            "%s: %s %s is %s%s",
            self._channel.name,
            claim.notice.stage,
            claim.notice.reference,
            status,
            f" ({detail})" if detail else "",
            extra={**about, "status": status, "outcome": outcome},
        )

    async def _persistently(
        self, tell: Callable[[], Awaitable[str]], about: Mapping[str, object]
    ) -> str:
        """Repeats *tell* while the ledger is away; raises what there is no use in repeating."""
        backoff, failures, give_up_at_s = Backoff(), 0, float("inf")
        while True:
            try:
                return await tell()
            except LedgerAway as error:
                failures += isinstance(error, LedgerFailed)
                if self._stopping.is_set():
                    give_up_at_s = min(give_up_at_s, now_s() + SETTLE_AFTER_STOP_S)
                if failures >= SETTLE_FAILURES or now_s() >= give_up_at_s:
                    raise
                pause_s = backoff.next_s()
                words, facts = "%s: %s; next try in %.1f s", {"retry_in_s": round(pause_s, 1)}
                given = (self._channel.name, error, pause_s)
                self._log.warning(words, *given, extra={**about, **facts})
                await self._rest(min(pause_s, max(give_up_at_s - now_s(), 0.0)))

    async def _rest(self, seconds: float) -> None:
        """A pause that goes on after a stop, or ends with it."""
        if self._stopping.is_set():
            await asyncio.sleep(seconds)
        else:
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _ladder_s(self, attempts: int) -> float:
        """The pause after so many attempts (this one may or may not be counted yet)."""
        ladder = self._retry_ladder_s
        return ladder[min(max(attempts - 1, 0), len(ladder) - 1)]


def _about(notice: Notice) -> dict[str, object]:
    return {"notice_id": notice.id, "reference": notice.reference, "stage": notice.stage}


def _in_words(error: Exception) -> str:
    """Of a channel's error its text; of any other its kind alone, for its text may hold secrets."""
    if isinstance(error, ChannelError):
        return str(error)
    return "no answer in time" if isinstance(error, TimeoutError) else f"a {type(error).__name__}"
