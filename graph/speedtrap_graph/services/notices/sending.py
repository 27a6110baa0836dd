"""The workers' side of the ledger: claim, begin, settle; and look up what may have arrived.

A worker gets a lease and a fence (a number that grows with each claim). Whoever lost the lease
carries a stale fence and is refused. An expired claim may be claimed again, since nothing can have
left the house before `begin_sending`; an expired sending may have arrived and becomes UNKNOWN.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.permission import NoticeStatus, permission
from speedtrap_graph.services.notices.outcomes import Settlement, settled_fields, unknown_fields
from speedtrap_graph.services.notices.records import Records
from speedtrap_graph.store.database import Row, Session
from speedtrap_graph.store.documents import NoticeDocument
from speedtrap_graph.store.notices import (
    advance,
    claim_lease,
    expire_sendings,
    find_leased,
    next_candidate,
    next_check,
    step,
)

_CANDIDATES = 100


@dataclass(frozen=True)
class Claim:
    """`lease` is how long the claim holds, `sending_lease` how long from `begin_sending` on."""

    notice: NoticeDocument
    fence: int
    lease_until: datetime
    lease: timedelta
    sending_lease: timedelta


@dataclass(frozen=True)
class Sending(Records):
    async def claim(self, channel: str, worker: str) -> Claim | None:
        """A lease on the next notice that is due in *channel*."""
        _check_worker(worker)
        await self._expire()
        if await self.switched_off():
            return None
        tried: list[str] = []
        while len(tried) < _CANDIDATES:
            row = await next_candidate(self.store, channel, self.clock(), tried)
            if row is None:
                return None
            tried.append(row["_id"])
            claimed = await self._claim(row["_id"], row["recipient"], worker)
            if claimed is not None:
                return claimed
        return None

    async def begin_sending(self, key: str, fence: int, by: str) -> bool:
        """True when the first byte may leave now; the intention is on record before it does."""

        async def work(session: Session) -> bool:
            row = await find_leased(self.store, key, fence, session)
            if row is None or await self.hold_back(row, session):
                return False
            if switch := await self.switched_off(session):
                why = f"all sending is switched off: {switch['reason']}"
                await self.advance_to(
                    row,
                    NoticeStatus.DUE,
                    "ledger",
                    why,
                    session,
                    due_at=self.clock(),
                    counted_at=None,
                )
                return False
            entry = step(self.clock(), by, NoticeStatus.SENDING, None)
            await claim_lease(
                self.store,
                row,
                entry,
                lease=self.terms.sending_lease,
                counted=True,
                session=session,
            )
            return True

        return await self.store.transaction(work)

    async def settle(self, key: str, fence: int, settlement: Settlement, by: str) -> NoticeDocument:
        """Records how it went. Repeating a settlement that was recorded changes nothing."""

        async def work(session: Session) -> None:
            row = await self.row(key, session)
            now = self.clock()
            fields = settled_fields(row, fence, settlement, now, self.terms.check_after)
            if fields is not None:
                status = NoticeStatus(fields["status"])
                await advance(
                    self.store, row, fields, step(now, by, status, settlement.why), session
                )

        await self.store.transaction(work)
        return await self.notice(key)

    async def claim_check(self, channel: str, worker: str) -> Claim | None:
        """A lease on looking up the next notice of *channel* that may have arrived."""
        _check_worker(worker)
        # Looked up in quiet hours too, when nobody claims.
        await self._expire()
        row = await next_check(self.store, channel, self.clock())
        if row is None:
            return None
        entry = step(self.clock(), worker, NoticeStatus.CHECKING, None)
        taken = await claim_lease(
            self.store, row, entry, lease=self.terms.claim_lease, worker=worker
        )
        return None if taken is None else self._claim_of(taken)

    async def event_cursor(self, consumer: str) -> str | None:
        row = await self.store["cursors"].find_one({"_id": _consumer(consumer)})
        return None if row is None else str(row["cursor"])

    async def save_event_cursor(self, consumer: str, cursor: str) -> bool:
        """A consumer's place only ever moves on; False when it was further already."""
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
            raise BadInputError("cursor must be the cursor of an event", field="cursor")
        key = _consumer(consumer)
        before = await self.store["cursors"].find_one_and_update(
            {"_id": key}, {"$max": {"cursor": int(cursor)}}, upsert=True
        )
        return before is None or before["cursor"] <= int(cursor)

    async def _expire(self) -> None:
        now = self.clock()
        await expire_sendings(self.store, now, unknown_fields(now, self.terms.check_after))

    async def _claim(self, key: str, recipient: str, worker: str) -> Claim | None:
        async def work(session: Session) -> Row | None:
            await self.bump_recipient(recipient, session)
            row = await next_candidate(self.store, None, self.clock(), [], key, session)
            if row is None:
                return None
            granted = permission(await self.situation(row, session))
            if granted.status is not NoticeStatus.DUE:
                await self.apply(row, granted, "ledger", session)
                return None
            if row["status"] == NoticeStatus.APPROVED:
                await self.apply(row, granted, "ledger", session)
                row = await self.row(key, session)
            return await claim_lease(
                self.store,
                row,
                step(self.clock(), worker, NoticeStatus.CLAIMED, None),
                lease=self.terms.claim_lease,
                counted=True,
                worker=worker,
                session=session,
            )

        row = await self.store.transaction(work)
        return None if row is None else self._claim_of(row)

    def _claim_of(self, row: Row) -> Claim:
        return Claim(
            NoticeDocument.model_validate(row),
            row["fence"],
            row["lease_until"],
            self.terms.claim_lease,
            self.terms.sending_lease,
        )


def _check_worker(worker: str) -> None:
    if not 1 <= len(worker) <= 200:
        raise BadInputError("worker must have 1 to 200 characters", field="worker")


def _consumer(name: str) -> str:
    if not 1 <= len(name) <= 100:
        raise BadInputError("consumer must have 1 to 100 characters", field="consumer")
    return name
