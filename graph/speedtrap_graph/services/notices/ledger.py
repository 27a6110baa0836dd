"""The ledger of notices: planned once, sent at most once, every step on record.

Here is the people's side: plan, approve, reject, resolve, STOP and the switch. The workers' side is
`sending`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from speedtrap_graph.errors import BadInputError, ConflictError
from speedtrap_graph.rules.permission import WAITING, NoticeStatus, Stage
from speedtrap_graph.rules.recipients import recipient_key
from speedtrap_graph.services.notices.channels import obstacle, unable
from speedtrap_graph.services.notices.content import NoticeDraft, frozen_content, notice_id
from speedtrap_graph.services.notices.records import SENDING_SWITCH
from speedtrap_graph.services.notices.sending import Claim, Sending
from speedtrap_graph.store.database import Row, Session
from speedtrap_graph.store.documents import (
    BreachDocument,
    NoticeDocument,
    StopDocument,
    SwitchDocument,
)
from speedtrap_graph.store.notices import mark_told, step

DIGEST_EVERY = timedelta(days=7)
_MOST_IN_A_DIGEST = 50
_LONGEST_REASON = 1000

__all__ = ["Claim", "Ledger"]


@dataclass(frozen=True)
class Ledger(Sending):
    """The whole ledger, as the API is given it."""

    async def draft(self, draft: NoticeDraft, by: str) -> NoticeDocument:
        """The notice, new or as it was planned before: then with its first content.

        Of digests there is one a week for each channel and recipient, whoever plans it.
        """
        content = frozen_content(draft)
        await self.ensure_recipient(draft.recipient)

        async def work(session: Session) -> str:
            breach = await self.breach(draft.breach, session)
            await self._hold_on_to(breach, session)
            await self.bump_recipient(draft.recipient, session)
            key = notice_id(draft)
            if await self.store["notices"].find_one({"_id": key}, {"_id": 1}, session=session):
                return key
            if draft.stage is Stage.DIGEST and (last := await self._last_digest(draft, session)):
                return str(last["_id"])
            row = {
                "_id": key,
                "probe": breach["probe"],
                "reference": breach["reference"],
                **content,
                "recipient_key": recipient_key(draft.recipient),
                "covers": list(draft.covers),
                "status": NoticeStatus.PLANNED.value,
                "planned_at": self.clock(),
                "attempts": 0,
                "fence": 0,
                "steps": [step(self.clock(), by, NoticeStatus.PLANNED, None)],
            }
            await self.store["notices"].insert_one(row, session=session)
            await self._settle_siblings(row, session)
            await self._after_planning(row, session)
            return key

        return await self.notice(await self.store.transaction(work))

    async def approve(self, key: str, digest: str, by: str) -> NoticeDocument:
        """Permission to send exactly what was read, known by *digest*."""
        found = await self.notice(key)
        if found.digest != digest:
            raise ConflictError(
                "the digest is not that of this notice: read it again before approving it",
                field="digest",
            )
        is_unable = bool(await unable(self.store, self.clock(), {found.channel}))
        if (why := obstacle(found.recipient, is_unable=is_unable)) is not None:
            raise ConflictError(
                f"this notice cannot be sent: {why}",
                field="channel" if found.recipient else "recipient",
            )

        async def work(session: Session) -> None:
            await self.bump_recipient(found.recipient, session)
            row = await self.row(key, session)
            if row["status"] != NoticeStatus.PLANNED:
                raise ConflictError(f"this notice is {row['status']}, not PLANNED", field="id")
            await self.grant(row, by, None, session)

        await self.store.transaction(work)
        return await self.notice(key)

    async def reject(self, key: str, reason: str, by: str) -> NoticeDocument:
        why = _reason(reason)

        async def work(session: Session) -> None:
            row = await self.row(key, session)
            if row["status"] not in WAITING:
                raise ConflictError(
                    f"this notice is {row['status']}: only a waiting one can be rejected",
                    field="id",
                )
            await self.advance_to(row, NoticeStatus.REJECTED, by, why, session)

        await self.store.transaction(work)
        return await self.notice(key)

    async def resolve(self, key: str, arrived: bool, reason: str, by: str) -> NoticeDocument:
        """A person's word about an unknown outcome: it arrived, or it may be sent again."""
        why = _reason(reason)

        async def work(session: Session) -> None:
            row = await self.row(key, session)
            await self.bump_recipient(row["recipient"], session)
            if row["status"] != NoticeStatus.UNKNOWN:
                raise ConflictError(f"this notice is {row['status']}, not UNKNOWN", field="id")
            # A worker that wakes up late must not have the last word.
            fence = row["fence"] + 1
            if arrived:
                sent: Row = {"sent_at": self.clock(), "fence": fence}
                await self.advance_to(row, NoticeStatus.SENT, by, why, session, **sent)
                return
            again: Row = {"counted_at": None, "fence": fence}
            await self.store["notices"].update_one({"_id": key}, {"$set": again}, session=session)
            await self.grant({**row, **again}, by, why, session)

        await self.store.transaction(work)
        return await self.notice(key)

    async def record_bounce(self, key: str, detail: str, by: str) -> NoticeDocument:
        """It came back: what counted as sent never reached anybody."""
        why = f"bounced: {_reason(detail)}"

        async def work(session: Session) -> None:
            row = await self.row(key, session)
            if row["status"] not in {NoticeStatus.SENT, NoticeStatus.UNKNOWN}:
                raise ConflictError(f"this notice is {row['status']}, not SENT", field="id")
            await self.bump_recipient(row["recipient"], session)
            await self.advance_to(
                row, NoticeStatus.DEAD, by, why, session, fence=row["fence"] + 1, check_at=None
            )

        await self.store.transaction(work)
        return await self.notice(key)

    async def stop(self, recipient: str, reason: str, by: str) -> StopDocument:
        """This recipient wants no more, ever, through any channel. What waits is taken out."""
        why, key = _reason(reason), recipient_key(recipient)
        if not 1 <= len(key) <= 320:
            raise BadInputError("recipient must have 1 to 320 characters", field="recipient")
        await self.ensure_recipient(recipient)

        async def work(session: Session) -> None:
            await self.bump_recipient(key, session)
            if await self.store["stops"].find_one({"_id": key}, session=session):
                return
            row = {"recipient": recipient.strip(), "at": self.clock(), "by": by, "reason": why}
            await self.store["stops"].insert_one({"_id": key, **row}, session=session)
            waiting = {"recipient_key": key, "status": {"$in": sorted(WAITING)}}
            for notice in await self.store["notices"].find(waiting, session=session).to_list():
                await self.hold_back(notice, session)

        await self.store.transaction(work)
        found = await StopDocument.get(key)
        if found is None:
            raise ConflictError("the stop is gone again", field="recipient")
        return found

    async def stops(self) -> list[StopDocument]:
        return await StopDocument.find_all().sort("-at").to_list()

    async def set_sending(self, on: bool, reason: str, by: str) -> SwitchDocument:
        """The switch for everything: while it is off, nothing leaves, approved or not."""
        row = {"on": on, "at": self.clock(), "by": by, "reason": _reason(reason)}
        await self.store["switches"].update_one({"_id": SENDING_SWITCH}, {"$set": row}, upsert=True)
        return SwitchDocument(id=SENDING_SWITCH, **row)

    async def sending(self) -> SwitchDocument | None:
        """The last word about the switch; None when it was never touched, and so on."""
        return await SwitchDocument.get(SENDING_SWITCH)

    async def due_for_digest(self, channel: str, recipient: str) -> list[BreachDocument]:
        """Breaches whose opening or recovery the limits kept from this recipient; empty until a
        week's are together.
        """
        held = {
            "channel": channel,
            "recipient": recipient,
            "stage": {"$in": [Stage.OPENING.value, Stage.RECOVERY.value]},
            "status": NoticeStatus.SUPPRESSED.value,
            "held_back_at": {"$ne": None},
            "digest_notice": None,
        }
        rows = self.store["notices"].find(held, {"breach": 1, "held_back_at": 1})
        pool = await rows.sort("held_back_at", 1).limit(_MOST_IN_A_DIGEST).to_list()
        if not pool or pool[0]["held_back_at"] > self.clock() - DIGEST_EVERY:
            return []
        breaches = {"_id": {"$in": [row["breach"] for row in pool]}, "status": "RESOLVED"}
        return await BreachDocument.find(breaches).sort("+first_run_at").to_list()

    async def _hold_on_to(self, breach: Row, session: Session) -> None:
        """Whoever takes the breach back meanwhile finds this notice, or this one finds out."""
        known = {"_id": breach["_id"]}
        await self.store["breaches"].update_one(known, {"$inc": {"seq": 1}}, session=session)

    async def _last_digest(self, draft: NoticeDraft, session: Session) -> Row | None:
        wanted = {
            "channel": draft.channel,
            "recipient_key": recipient_key(draft.recipient),
            "stage": Stage.DIGEST.value,
            "planned_at": {"$gt": self.clock() - DIGEST_EVERY},
            # What one that was withdrawn told of is free for another.
            "status": {"$ne": NoticeStatus.SUPPRESSED.value},
        }
        return await self.store["notices"].find_one(wanted, {"_id": 1}, session=session)

    async def _after_planning(self, row: Row, session: Session) -> None:
        """What is held back anyway says so at once; a channel may need nobody's approval."""
        if row["covers"]:
            await mark_told(self.store, row, row["_id"], session)
        if await self.hold_back(row, session):
            return
        if not row["recipient"]:
            return
        if row["channel"] in self.terms.owner_channels:
            await self.grant(row, "ledger", "to the subscriber: needs no approval", session)
        elif row["channel"] in self.terms.auto_approve:
            await self.grant(row, "auto-approve", None, session)

    async def _settle_siblings(self, row: Row, session: Session) -> None:
        """Of the same breach and channel: a recipient replaces none; a recovery ends openings."""
        same = {"breach": row["breach"], "channel": row["channel"], "_id": {"$ne": row["_id"]}}
        siblings: Sequence[Row] = await self.store["notices"].find(same, session=session).to_list()
        for other in siblings:
            if other["status"] not in WAITING:
                continue
            if other["stage"] == row["stage"] and row["recipient"] and not other["recipient"]:
                why = "planned anew with a recipient"
                await self.advance_to(other, NoticeStatus.SUPPRESSED, "ledger", why, session)
            elif row["stage"] == Stage.RECOVERY and other["stage"] != Stage.RECOVERY:
                await self.hold_back(other, session)


def _reason(text: str) -> str:
    """Why somebody decided so; it is kept with the notice."""
    if not 1 <= len(text.strip()) <= _LONGEST_REASON:
        raise BadInputError(
            f"the reason must have 1 to {_LONGEST_REASON} characters", field="reason"
        )
    return text.strip()
