"""What both sides of the ledger share: reading a notice's situation, and writing its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import NotFoundError
from speedtrap_graph.rules.permission import (
    HELD_BACK,
    TOLD_IN_DIGEST,
    NoticeStatus,
    Permission,
    Situation,
    Stage,
    held_back,
    permission,
)
from speedtrap_graph.rules.recipients import recipient_key
from speedtrap_graph.services.breaches.verify import OPEN, RESOLVED, RETRACTED, standing
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import NoticeDocument
from speedtrap_graph.store.notices import advance, step

SENDING_SWITCH = "sending"
DIGEST_CHANNELS = frozenset({"mail"})
"""A post has no room for several episodes."""


@dataclass(frozen=True)
class Terms:
    """What an operator may decide about sending.

    Notices of `auto_approve` need no person's approval. Those of `owner_channels` go to the
    subscriber: they need no approval either, and have limits of their own. `digest_channels` have a
    digest.
    """

    auto_approve: frozenset[str] = frozenset()
    owner_channels: frozenset[str] = frozenset()
    digest_channels: frozenset[str] = DIGEST_CHANNELS
    claim_lease: timedelta = timedelta(minutes=2)
    sending_lease: timedelta = timedelta(minutes=5)
    check_after: timedelta = timedelta(seconds=60)


@dataclass(frozen=True)
class Records:
    store: Store
    clock: Clock
    terms: Terms = Terms()

    def is_to_owner(self, row: Row) -> bool:
        return row["channel"] in self.terms.owner_channels

    async def switched_off(self, session: Session | None = None) -> Row | None:
        """The switch, when somebody switched all sending off."""
        wanted = {"_id": SENDING_SWITCH, "on": False}
        return await self.store["switches"].find_one(wanted, session=session)

    async def grant(self, row: Row, by: str, why: str | None, session: Session) -> None:
        now = self.clock()
        entry = step(now, by, NoticeStatus.APPROVED, why)
        fields: Row = {"status": NoticeStatus.APPROVED.value, "approved_at": now, "due_at": now}
        await advance(self.store, row, fields, entry, session)
        row = {**row, **fields, "steps": [*row["steps"], entry]}
        await self.apply(row, permission(await self.situation(row, session)), "ledger", session)

    async def hold_back(self, row: Row, session: Session) -> bool:
        """Takes a notice out that must not go out; whether it did."""
        obstacle = held_back(await self.situation(row, session))
        if obstacle is not None:
            await self.apply(row, obstacle, "ledger", session)
        return obstacle is not None

    async def apply(self, row: Row, granted: Permission, by: str, session: Session) -> None:
        """Gives the status that *granted* says; a wait that only goes on is no new step."""
        fields: Row = {"status": granted.status.value, "due_at": granted.due_at}
        if granted.status in HELD_BACK:
            fields["counted_at"] = None
        waits = granted.due_at is not None and granted.due_at > self.clock()
        if not self.is_to_owner(row) and (waits or granted.why == TOLD_IN_DIGEST):
            fields["held_back_at"] = row.get("held_back_at") or self.clock()
        last = row["steps"][-1]
        known = (last["status"], last["why"]) == (granted.status, granted.why)
        entry = None if known else step(self.clock(), by, granted.status, granted.why)
        await advance(self.store, row, fields, entry, session)

    async def advance_to(
        self, row: Row, status: NoticeStatus, by: str, why: str, session: Session, **fields: object
    ) -> None:
        entry = step(self.clock(), by, status, why)
        await advance(self.store, row, {"status": status.value, **fields}, entry, session)

    async def situation(self, row: Row, session: Session) -> Situation:
        breach = await self.breach(row["breach"], session)
        silence = await self.store["silences"].find_one({"_id": breach["probe"]}, session=session)
        stop = await self.store["stops"].find_one(
            {"_id": recipient_key(row["recipient"])}, session=session
        )
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
        return Situation(
            stage=Stage(row["stage"]),
            to_owner=self.is_to_owner(row),
            has_digest=row["channel"] in self.terms.digest_channels,
            breach_status=await self._standing(breach, row.get("covers", ()), session),
            stopped_at=None if stop is None else stop["at"],
            silenced_until=None if silence is None else silence["until"],
            opening=None if opening is None else NoticeStatus(opening["status"]),
            earlier=await self._earlier(row, session),
            now=self.clock(),
        )

    async def _standing(self, breach: Row, covers: Sequence[str], session: Session) -> str:
        """Of the breach; of a digest, the worst of all that it says is over."""
        found = {await standing(self.store, breach, session)}
        for key in covers:
            found.add(await standing(self.store, await self.breach(key, session), session))
        return next(status for status in (RETRACTED, OPEN, RESOLVED) if status in found)

    async def _earlier(self, row: Row, session: Session) -> list[datetime]:
        """When other notices went to the same recipient, as far as they count beside this one."""
        key, owner = recipient_key(row["recipient"]), sorted(self.terms.owner_channels)
        channels = row["channel"] if self.is_to_owner(row) else {"$nin": owner}
        wanted = {"recipient_key": key, "channel": channels, "_id": {"$ne": row["_id"]}}
        found = self.store["notices"].find(wanted, {"counted_at": 1}, session=session)
        moments = [other["counted_at"] async for other in found if other.get("counted_at")]
        if self.is_to_owner(row):
            return moments
        known = await self.store["recipients"].find_one({"_id": key}, session=session) or {}
        # Of probes that were deleted since.
        return [*moments, *known.get("counted", ())]

    async def breach(self, key: str, session: Session) -> Row:
        row = await self.store["breaches"].find_one({"_id": key}, session=session)
        if row is None:
            raise NotFoundError(f"there is no breach {key[:64]!r}", field="breach")
        return row

    async def row(self, key: str, session: Session) -> Row:
        row = await self.store["notices"].find_one({"_id": key}, session=session)
        if row is None:
            raise NotFoundError(f"there is no notice {key[:64]!r}", field="id")
        return row

    async def notice(self, key: str) -> NoticeDocument:
        found = await NoticeDocument.get(key)
        if found is None:
            raise NotFoundError(f"there is no notice {key[:64]!r}", field="id")
        return found

    async def ensure_recipient(self, recipient: str) -> None:
        await self.store["recipients"].update_one(
            {"_id": recipient_key(recipient)}, {"$setOnInsert": {"seq": 0}}, upsert=True
        )

    async def bump_recipient(self, recipient: str, session: Session) -> None:
        """First in every transaction that counts: two at once cannot both be the last allowed."""
        await self.store["recipients"].update_one(
            {"_id": recipient_key(recipient)}, {"$inc": {"seq": 1}}, session=session
        )
