"""A line with an open breach, and the ledger that writes to a support desk about it."""

import base64
from dataclasses import dataclass, field, replace
from typing import Any

from speedtrap_graph.rules.permission import Stage
from speedtrap_graph.services.notices.content import AttachmentDraft, NoticeDraft
from speedtrap_graph.services.notices.ledger import Claim, Ledger
from speedtrap_graph.services.notices.outcomes import Settlement, SettleOutcome
from speedtrap_graph.services.notices.records import Terms
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument

from tests.lab.line import Line

SLOW, GOOD = 120.0, 940.0
DESK = "support@isp.example"
SENT = Settlement(SettleOutcome.SENT, "250 ok")


@dataclass
class Post:
    """A line with an open breach, and a ledger by the same clock."""

    line: Line
    auto_approve: frozenset[str] = frozenset()
    owner_channels: frozenset[str] = frozenset()
    hour: float = field(default=0, init=False)

    @property
    def ledger(self) -> Ledger:
        return Ledger(
            self.line.store, self.line.clock, Terms(self.auto_approve, self.owner_channels)
        )

    async def slow(self) -> BreachDocument:
        """Six slow runs more; the open breach."""
        await self.line.measure(*[SLOW] * 6, first_hour=self.hour)
        self.hour += 6
        return (await self.line.breaches())[-1]

    async def good(self) -> None:
        await self.line.measure(GOOD, first_hour=self.hour)
        self.hour += 1

    async def approved(self, breach: BreachDocument, **changes: Any) -> NoticeDocument:
        notice = await self.ledger.draft(replace(a_draft(breach), **changes), "bot")
        return await self.ledger.approve(notice.id, notice.digest, "operator")

    async def claimed(self, channel: str = "mail") -> Claim:
        claim = await self.ledger.claim(channel, "worker")
        assert claim is not None
        return claim

    async def sent(self, breach: BreachDocument, **changes: Any) -> NoticeDocument:
        await self.approved(breach, **changes)
        claim = await self.claimed()
        assert await self.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
        return await self.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")


def a_draft(breach: BreachDocument, stage: Stage = Stage.OPENING, **changes: Any) -> NoticeDraft:
    chart = AttachmentDraft("chart.png", "image/png", "a chart", base64.b64encode(b"x").decode())
    draft = NoticeDraft(breach.id, stage, "mail", DESK, "Slow line", "Dear", None, [chart])
    return replace(draft, **changes)


async def expire_lease(store: Store) -> None:
    # Leases run by the database's clock, which no test moves.
    await store["notices"].update_many({}, [{"$set": {"lease_until": {"$add": ["$$NOW", -1]}}}])
