"""The ledger of notices: planned once, sent at most once, every step on record.

A worker gets a lease and a fence (a number that grows with each claim). Whoever lost the lease
carries a stale fence and is refused. An expired claim may be claimed again, since nothing can have
left the house before `begin_sending`; an expired sending may have arrived and becomes UNKNOWN.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_graph.services.clock import Clock
from speedtrap_graph.services.errors import BadInputError, ConflictError, NotFoundError
from speedtrap_graph.services.leave import (
    COUNTED_STAGES,
    HELD_BACK,
    WAITING,
    Leave,
    NoticeStatus,
    Situation,
    Stage,
    held_back,
    leave,
)
from speedtrap_graph.services.notice_content import NoticeDraft, frozen_content, notice_id
from speedtrap_graph.services.settling import Settlement, settled_fields
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import NoticeDocument
from speedtrap_graph.store.notices import (
    advance,
    claim_lease,
    expire_sendings,
    find_leased,
    next_candidate,
    step,
)

CLAIM_LEASE = timedelta(minutes=2)
SENDING_LEASE = timedelta(minutes=5)
_CANDIDATES = 100


@dataclass(frozen=True)
class Claim:
    notice: NoticeDocument
    fence: int
    lease_until: datetime


@dataclass(frozen=True)
class Ledger:
    """`auto_approve` are the channels whose notices need no person's leave."""

    store: Store
    clock: Clock
    auto_approve: frozenset[str] = frozenset()

    async def plan(self, draft: NoticeDraft, by: str) -> NoticeDocument:
        """The notice, new or as it was planned before: then with its first content."""
        content = frozen_content(draft)
        await self._ensure_recipient(draft.recipient)

        async def work(session: Session) -> None:
            breach = await self._breach(draft.breach, session)
            await self._bump_recipient(draft.recipient, session)
            key = notice_id(draft)
            if await self.store["notices"].find_one({"_id": key}, {"_id": 1}, session=session):
                return
            row = {
                "_id": key,
                "probe": breach["probe"],
                "reference": breach["reference"],
                **content,
                "status": NoticeStatus.PLANNED.value,
                "planned_at": self.clock(),
                "attempts": 0,
                "fence": 0,
                "steps": [step(self.clock(), by, NoticeStatus.PLANNED, None)],
            }
            await self.store["notices"].insert_one(row, session=session)
            await self._settle_siblings(row, session)
            await self._after_planning(row, session)

        await self.store.transaction(work)
        return await self._get(notice_id(draft))

    async def approve(self, key: str, digest: str, by: str) -> NoticeDocument:
        """Leave to send exactly what was read, known by *digest*."""
        found = await self._get(key)
        if found.digest != digest:
            raise ConflictError(
                "the digest is not that of this notice: read it again before approving it",
                field="digest",
            )
        if not found.recipient:
            raise ConflictError(
                "this notice has no recipient: configure one for its channel "
                "(for mail: SPEEDTRAP_BOTS_MAIL_TO), and the bot plans it anew",
                field="recipient",
            )

        async def work(session: Session) -> None:
            await self._bump_recipient(found.recipient, session)
            row = await self._row(key, session)
            if row["status"] != NoticeStatus.PLANNED:
                raise ConflictError(f"this notice is {row['status']}, not PLANNED", field="id")
            await self._give_leave(row, by, session)

        await self.store.transaction(work)
        return await self._get(key)

    async def reject(self, key: str, reason: str, by: str) -> NoticeDocument:
        if not 1 <= len(reason.strip()) <= 1000:
            raise BadInputError("reason must have 1 to 1000 characters", field="reason")

        async def work(session: Session) -> None:
            row = await self._row(key, session)
            if row["status"] not in WAITING:
                raise ConflictError(
                    f"this notice is {row['status']}: only a waiting one can be rejected",
                    field="id",
                )
            await self._advance(row, NoticeStatus.REJECTED, by, reason.strip(), session)

        await self.store.transaction(work)
        return await self._get(key)

    async def claim(self, channel: str, worker: str) -> Claim | None:
        """A lease on the next notice that is due in *channel*."""
        if not 1 <= len(worker) <= 200:
            raise BadInputError("worker must have 1 to 200 characters", field="worker")
        await expire_sendings(self.store, self.clock())
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
            if row is None:
                return False
            if await self._hold_back(row, session):
                return False
            await claim_lease(
                self.store,
                row,
                step(self.clock(), by, NoticeStatus.SENDING, None),
                lease=SENDING_LEASE,
                counted=row["stage"] in COUNTED_STAGES,
                session=session,
            )
            return True

        return await self.store.transaction(work)

    async def settle(self, key: str, fence: int, settlement: Settlement, by: str) -> NoticeDocument:
        """Records how it went. Repeating a settlement that was recorded changes nothing."""

        async def work(session: Session) -> None:
            row = await self._row(key, session)
            fields = settled_fields(row, fence, settlement, self.clock())
            if fields is not None:
                status = NoticeStatus(fields["status"])
                entry = step(self.clock(), by, status, settlement.why)
                await advance(self.store, row, fields, entry, session)

        await self.store.transaction(work)
        return await self._get(key)

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

    async def _claim(self, key: str, recipient: str, worker: str) -> Claim | None:
        async def work(session: Session) -> Row | None:
            await self._bump_recipient(recipient, session)
            row = await next_candidate(self.store, None, self.clock(), [], key, session)
            if row is None:
                return None
            granted = leave(await self._situation(row, session))
            if granted.status is not NoticeStatus.DUE:
                await self._apply(row, granted, "ledger", session)
                return None
            return await claim_lease(
                self.store,
                row,
                step(self.clock(), worker, NoticeStatus.CLAIMED, None),
                lease=CLAIM_LEASE,
                counted=row["stage"] in COUNTED_STAGES,
                worker=worker,
                session=session,
            )

        row = await self.store.transaction(work)
        if row is None:
            return None
        notice = NoticeDocument.model_validate(row)
        return Claim(notice, row["fence"], row["lease_until"])

    async def _after_planning(self, row: Row, session: Session) -> None:
        """What is held back anyway says so at once; a channel may need nobody's leave."""
        if await self._hold_back(row, session):
            return
        if row["channel"] in self.auto_approve and row["recipient"]:
            await self._give_leave(row, "auto-approve", session)

    async def _settle_siblings(self, row: Row, session: Session) -> None:
        """Of the same breach and channel: a recipient replaces none; a recovery ends openings."""
        same = {"breach": row["breach"], "channel": row["channel"], "_id": {"$ne": row["_id"]}}
        siblings = await self.store["notices"].find(same, session=session).to_list()
        for other in siblings:
            if other["status"] not in WAITING:
                continue
            if other["stage"] == row["stage"] and row["recipient"] and not other["recipient"]:
                why = "planned anew with a recipient"
                await self._advance(other, NoticeStatus.SUPPRESSED, "ledger", why, session)
            elif row["stage"] == Stage.RECOVERY and other["stage"] == Stage.OPENING:
                await self._hold_back(other, session)

    async def _hold_back(self, row: Row, session: Session) -> bool:
        """Takes a notice out that must not go out; whether it did."""
        obstacle = held_back(await self._situation(row, session))
        if obstacle is not None:
            await self._apply(row, obstacle, "ledger", session)
        return obstacle is not None

    async def _give_leave(self, row: Row, by: str, session: Session) -> None:
        now = self.clock()
        entry = step(now, by, NoticeStatus.APPROVED, None)
        fields: Row = {"status": NoticeStatus.APPROVED.value, "approved_at": now, "due_at": now}
        await advance(self.store, row, fields, entry, session)
        row = {**row, **fields, "steps": [*row["steps"], entry]}
        await self._apply(row, leave(await self._situation(row, session)), "ledger", session)

    async def _apply(self, row: Row, granted: Leave, by: str, session: Session) -> None:
        """Gives the status that *granted* says; a wait that only goes on is no new step."""
        fields: Row = {"status": granted.status.value, "due_at": granted.due_at}
        if granted.status in HELD_BACK:
            fields["counted_at"] = None
        last = row["steps"][-1]
        if (last["status"], last["why"]) == (granted.status, granted.why):
            await advance(self.store, row, fields, None, session)
        else:
            entry = step(self.clock(), by, granted.status, granted.why)
            await advance(self.store, row, fields, entry, session)

    async def _advance(
        self, row: Row, status: NoticeStatus, by: str, why: str, session: Session
    ) -> None:
        entry = step(self.clock(), by, status, why)
        await advance(self.store, row, {"status": status.value}, entry, session)

    async def _situation(self, row: Row, session: Session) -> Situation:
        breach = await self._breach(row["breach"], session)
        silence = await self.store["silences"].find_one({"_id": breach["probe"]}, session=session)
        opening = await self.store["notices"].find_one(
            {
                "breach": row["breach"],
                "channel": row["channel"],
                "recipient": row["recipient"],
                "stage": Stage.OPENING.value,
            },
            {"status": 1},
            session=session,
        )
        counted = self.store["notices"].find(
            {"recipient_key": row["recipient"].casefold(), "_id": {"$ne": row["_id"]}},
            {"counted_at": 1},
            session=session,
        )
        return Situation(
            stage=Stage(row["stage"]),
            breach_status=breach["status"],
            silenced_until=None if silence is None else silence["until"],
            opening=None if opening is None else NoticeStatus(opening["status"]),
            earlier=[other["counted_at"] async for other in counted if other.get("counted_at")],
            now=self.clock(),
        )

    async def _breach(self, key: str, session: Session) -> Row:
        row = await self.store["breaches"].find_one({"_id": key}, session=session)
        if row is None:
            raise NotFoundError(f"there is no breach {key[:64]!r}", field="breach")
        return row

    async def _row(self, key: str, session: Session) -> Row:
        row = await self.store["notices"].find_one({"_id": key}, session=session)
        if row is None:
            raise NotFoundError(f"there is no notice {key[:64]!r}", field="id")
        return row

    async def _get(self, key: str) -> NoticeDocument:
        found = await NoticeDocument.get(key)
        if found is None:
            raise NotFoundError(f"there is no notice {key[:64]!r}", field="id")
        return found

    async def _ensure_recipient(self, recipient: str) -> None:
        await self.store["recipients"].update_one(
            {"_id": recipient.casefold()}, {"$setOnInsert": {"seq": 0}}, upsert=True
        )

    async def _bump_recipient(self, recipient: str, session: Session) -> None:
        """First in every transaction that counts: two at once cannot both be the last allowed."""
        await self.store["recipients"].update_one(
            {"_id": recipient.casefold()}, {"$inc": {"seq": 1}}, session=session
        )


def _consumer(name: str) -> str:
    if not 1 <= len(name) <= 100:
        raise BadInputError("consumer must have 1 to 100 characters", field="consumer")
    return name
