"""What becomes of the notices about a breach that turns out not to be what it was.

It is written in the transaction that changes the breach, so that nothing leaves in between. What
waits is withdrawn; what may have been read stays as it is and is marked as contradicted. A notice
that was withdrawn only because the line seemed to have recovered (or not to have) comes back with
the breach, with the approval that it had: a run that comes late must not silence anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from speedtrap_graph.rules.permission import (
    NOT_RECOVERED,
    RECOVERED_FIRST,
    WAITING,
    NoticeStatus,
    Stage,
)
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.notices import advance, mark_told, step

MAY_BE_READ = frozenset(
    {NoticeStatus.SENDING, NoticeStatus.SENT, NoticeStatus.UNKNOWN, NoticeStatus.CHECKING}
)
_BY = "ledger"


@dataclass(frozen=True)
class Withdrawal:
    store: Store
    session: Session
    now: datetime

    async def fallen(self, breach: str, why: str) -> None:
        """The breach was retracted. A digest that told of it beside others is concerned as well."""
        for notice in await self._find(_telling_of(breach)):
            await self._take_back(notice, f"the breach does not stand: {why}")

    async def changed(self, breach: str, before: str, after: str) -> None:
        """The line had recovered and has not after all, or the other way round."""
        if before == after:
            return
        for notice in await self._find(_telling_of(breach)):
            says_over = notice["stage"] in {Stage.RECOVERY, Stage.DIGEST}
            if after == "OPEN" and says_over:
                await self._take_back(notice, NOT_RECOVERED)
            elif after == "OPEN":
                await self._give_back(notice, RECOVERED_FIRST, "the line has not recovered")
            elif says_over:
                await self._give_back(notice, NOT_RECOVERED, "the line has recovered")
            elif notice["status"] in WAITING:
                # One that was read was true when it was written.
                await self._take_back(notice, RECOVERED_FIRST)

    async def _take_back(self, notice: Row, why: str) -> None:
        if notice["status"] in WAITING:
            await self._advance(notice, NoticeStatus.SUPPRESSED, why, {"counted_at": None})
            if notice["stage"] == Stage.DIGEST:
                # The next one may tell of the others in it.
                await mark_told(self.store, notice, None, self.session)
        elif notice["status"] in MAY_BE_READ and notice.get("contradicted_at") is None:
            marks = {"contradicted_at": self.now, "contradicted_why": why}
            status = NoticeStatus(notice["status"])
            await self._advance(notice, status, f"contradicted: {why}", marks)

    async def _give_back(self, notice: Row, taken_because: str, why: str) -> None:
        withdrawn = notice["status"] == NoticeStatus.SUPPRESSED
        told = notice.get("digest_notice") is not None
        if not withdrawn or told or notice["steps"][-1]["why"] != taken_because:
            return
        had_leave = notice.get("approved_at") is not None
        status = NoticeStatus.APPROVED if had_leave else NoticeStatus.PLANNED
        await self._advance(notice, status, why, {"due_at": self.now if had_leave else None})
        if notice["stage"] == Stage.DIGEST:
            await mark_told(self.store, notice, notice["_id"], self.session)

    async def _advance(
        self, notice: Row, status: NoticeStatus, why: str, fields: Mapping[str, object]
    ) -> None:
        entry = step(self.now, _BY, status, why)
        await advance(self.store, notice, {"status": status.value, **fields}, entry, self.session)

    async def _find(self, wanted: Row) -> list[Row]:
        content = {"attachments": 0, "text": 0, "html": 0}
        return await self.store["notices"].find(wanted, content, session=self.session).to_list()


def _telling_of(breach: str) -> Row:
    """A digest tells of several."""
    return {"$or": [{"breach": breach}, {"covers": breach}]}
