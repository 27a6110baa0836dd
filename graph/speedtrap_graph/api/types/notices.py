"""Breaches and the notices about them: they lead to each other, so they share a module."""

import base64
from collections.abc import Hashable
from dataclasses import field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import BreachEventKind, BreachStatus, NoticeStatus, Stage
from speedtrap_graph.api.types.plans import Plan, Rule
from speedtrap_graph.api.types.runs import PageInfo, Run
from speedtrap_graph.errors import NotFoundError
from speedtrap_graph.rules.permission import WAITING
from speedtrap_graph.services.notices.channels import obstacle
from speedtrap_graph.services.notices.content import AttachmentDraft, NoticeDraft
from speedtrap_graph.services.notices.ledger import Claim as LedgerClaim
from speedtrap_graph.services.read.browse import Heard
from speedtrap_graph.store.documents import (
    AttachmentPart,
    BreachDocument,
    NoticeDocument,
    StepPart,
    StopDocument,
    SwitchDocument,
)
from speedtrap_graph.store.paging import Page


@strawberry.type(description="What a run says to the rule of a breach.")
class BreachObservation:
    run: UUID
    value: float | None = strawberry.field(
        description="In the metric's unit, as the rule sees it: of its tool, and null where the "
        "household may be the cause of a bad one."
    )
    threshold: float | None = strawberry.field(
        description="The rule's bound for this run, in the metric's unit; null where the rule asks "
        "nothing of it, as of a run off peak."
    )
    broken: bool | None = strawberry.field(description="Null: it says nothing to the rule.")
    in_breach: bool = strawberry.field(description="It is one of the breach's `count`.")

    @classmethod
    def of(cls, heard: Heard) -> Self:
        said = heard.observation
        return cls(
            run=said.run_id,
            value=said.value,
            threshold=said.threshold,
            broken=heard.broken,
            in_breach=heard.in_breach,
        )


@strawberry.type
class Breach:
    document: strawberry.Private[BreachDocument]
    id: strawberry.ID
    reference: str = strawberry.field(
        description="For people and for looking a notice up: ST-XXXXXX."
    )
    probe: str
    rule: Rule
    plan: Plan
    status: BreachStatus
    first_run_at: datetime
    opened_at: datetime = strawberry.field(
        description="The start of the run that completed the streak."
    )
    last_run_at: datetime
    resolved_at: datetime | None
    count: int = strawberry.field(description="Observations that broke the rule.")
    median_mbps: float | None
    subscribed_mbps: float
    stale: bool = strawberry.field(
        description="It was already over when it became known: recorded, never announced as new."
    )

    @classmethod
    def of(cls, breach: BreachDocument) -> Self:
        return cls(
            document=breach,
            id=strawberry.ID(breach.id),
            reference=breach.reference,
            probe=breach.probe,
            rule=Rule.of(breach.rule),
            plan=Plan.of(breach.plan),
            status=BreachStatus(breach.status),
            first_run_at=breach.first_run_at,
            opened_at=breach.opened_at,
            last_run_at=breach.last_run_at,
            resolved_at=breach.resolved_at,
            count=breach.bad_count,
            median_mbps=breach.median,
            subscribed_mbps=breach.subscribed_mbps,
            stale=breach.stale,
        )

    @strawberry.field(
        description="The breach's runs, oldest first: those that broke the rule and the "
        "inconclusive ones between; at most 500, the newest."
    )
    async def runs(self, info: Info) -> list[Run]:
        found = await info.context.services.browse.runs_of_breach(self.document)
        return [Run.of(run) for run in found]

    @strawberry.field(
        description="Every run from `hours` before the first to now or `hours` after the end, "
        "the good ones too, oldest first; at most 500."
    )
    async def window(self, info: Info, hours: int = 24) -> list[Run]:
        found = await info.context.services.browse.runs_around_breach(self.document, hours)
        return [Run.of(run) for run in found]

    @strawberry.field(
        description="What the runs of `window` say to the breach's rule, oldest first; at most "
        "1000, the newest."
    )
    async def observations(self, info: Info, hours: int = 24) -> list[BreachObservation]:
        browse = info.context.services.browse
        found = await browse.observations_around_breach(self.document, hours)
        return [BreachObservation.of(heard) for heard in found]

    @strawberry.field
    async def notices(self, info: Info) -> list["Notice"]:
        found = await info.context.notices.load(self.document.id)
        return [Notice.of(notice) for notice in found]


@strawberry.type
class BreachEdge:
    cursor: str
    node: Breach


@strawberry.type
class BreachConnection:
    edges: list[BreachEdge]
    nodes: list[Breach]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page) -> Self:
        nodes = [Breach.of(BreachDocument.model_validate(row)) for row in page.rows]
        edges = [
            BreachEdge(cursor=cursor, node=node)
            for cursor, node in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=PageInfo.of(page))


@strawberry.type
class BreachEvent:
    cursor: str = strawberry.field(
        description="Give it back as `after` to go on behind this event."
    )
    kind: BreachEventKind
    at: datetime
    breach: Breach
    answers: strawberry.Private[dict[Hashable, Any]] = field(default_factory=dict)
    """See `sharing`."""


@strawberry.type
class Attachment:
    notice_id: strawberry.Private[str]
    place: strawberry.Private[int]
    name: str
    media_type: str
    alt_text: str | None
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, part: AttachmentPart, notice_id: str, place: int) -> Self:
        return cls(
            notice_id=notice_id,
            place=place,
            name=part.name,
            media_type=part.media_type,
            alt_text=part.alt_text,
            sha256=part.sha256,
            size_bytes=part.size_bytes,
        )

    @strawberry.field
    async def content_base64(self, info: Info) -> str:
        contents = await info.context.contents.load(self.notice_id)
        return base64.b64encode(contents[self.place]).decode()


@strawberry.type(description="One change of a notice's state: who, when and why.")
class NoticeStep:
    at: datetime
    by: str
    status: NoticeStatus
    why: str | None

    @classmethod
    def of(cls, part: StepPart) -> Self:
        return cls(at=part.at, by=part.by, status=NoticeStatus(part.status), why=part.why)


@strawberry.type
class Notice:
    breach_id: strawberry.Private[str]
    cover_ids: strawberry.Private[list[str]]
    digest_id: strawberry.Private[str | None]
    id: strawberry.ID
    reference: str
    stage: Stage
    channel: str
    recipient: str = strawberry.field(description="Empty while nobody is configured.")
    status: NoticeStatus
    subject: str
    text: str
    html: str | None
    attachments: list[Attachment]
    digest: str = strawberry.field(
        description="SHA-256 over exactly what would be sent; approveNotice wants it back."
    )
    planned_at: datetime
    approved_at: datetime | None
    sent_at: datetime | None
    due_at: datetime | None = strawberry.field(
        description="Not before this moment (a retry, a cool-down)."
    )
    attempts: int
    external_reference: str | None = strawberry.field(
        description="What the other side called it: a post's id, the final SMTP reply."
    )
    contradicted_at: datetime | None = strawberry.field(
        description="Since when it is known that what it says was not so: it may have been read "
        "by then, so it stays, and somebody may want to put it right."
    )
    contradicted_why: str | None
    steps: list[NoticeStep]

    @classmethod
    def of(cls, notice: NoticeDocument) -> Self:
        return cls(
            breach_id=notice.breach,
            cover_ids=notice.covers,
            digest_id=notice.digest_notice,
            id=strawberry.ID(notice.id),
            reference=notice.reference,
            stage=Stage(notice.stage),
            channel=notice.channel,
            recipient=notice.recipient,
            status=NoticeStatus(notice.status),
            subject=notice.subject,
            text=notice.text,
            html=notice.html,
            attachments=[
                Attachment.of(part, notice.id, place)
                for place, part in enumerate(notice.attachments)
            ],
            digest=notice.digest,
            planned_at=notice.planned_at,
            approved_at=notice.approved_at,
            sent_at=notice.sent_at,
            due_at=notice.due_at,
            attempts=notice.attempts,
            external_reference=notice.external_reference,
            contradicted_at=notice.contradicted_at,
            contradicted_why=notice.contradicted_why,
            steps=[NoticeStep.of(part) for part in notice.steps],
        )

    @strawberry.field(
        description="Of one that waits, why it could not be sent as its channel is now: nobody is "
        "configured to get it, or no server to send it by. approveNotice refuses it then."
    )
    async def obstacle(self, info: Info) -> str | None:
        if self.status.value not in WAITING:
            return None
        is_unable = await info.context.unable.load(self.channel)
        return obstacle(self.recipient, is_unable=is_unable)

    @strawberry.field
    async def breach(self, info: Info) -> Breach:
        found = await info.context.breaches.load(self.breach_id)
        if found is None:
            raise NotFoundError(f"there is no breach {self.breach_id!r}")
        return Breach.of(found)

    @strawberry.field(description="The breaches that a DIGEST tells of; of others none.")
    async def covers(self, info: Info) -> list[Breach]:
        found = await info.context.breaches.load_many(self.cover_ids)
        return [Breach.of(breach) for breach in found if breach is not None]

    @strawberry.field(
        description="The DIGEST that tells of its breach instead, because the limits held this "
        "notice back until the breach was over."
    )
    async def told_in(self, info: Info) -> "Notice | None":
        if self.digest_id is None:
            return None
        found = await info.context.digests.load(self.digest_id)
        return None if found is None else Notice.of(found)


@strawberry.type
class NoticeEdge:
    cursor: str
    node: Notice


@strawberry.type
class NoticeConnection:
    edges: list[NoticeEdge]
    nodes: list[Notice]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page) -> Self:
        nodes = [Notice.of(NoticeDocument.model_validate(row)) for row in page.rows]
        edges = [
            NoticeEdge(cursor=cursor, node=node)
            for cursor, node in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=PageInfo.of(page))


@strawberry.type
class Claim:
    notice: Notice
    fence: int
    lease_until: datetime
    lease_s: float = strawberry.field(
        description="How long the claim holds from now on; counted by the worker's own clock, it "
        "needs no clocks that agree."
    )
    sending_lease_s: float = strawberry.field(
        description="How long the lease holds from beginSending on."
    )

    @classmethod
    def of(cls, claim: LedgerClaim) -> Self:
        return cls(
            notice=Notice.of(claim.notice),
            fence=claim.fence,
            lease_until=claim.lease_until,
            lease_s=claim.lease.total_seconds(),
            sending_lease_s=claim.sending_lease.total_seconds(),
        )


@strawberry.type(description="Who asked for no more.")
class Stop:
    recipient: str
    at: datetime
    by: str
    reason: str

    @classmethod
    def of(cls, stop: StopDocument) -> Self:
        return cls(recipient=stop.recipient, at=stop.at, by=stop.by, reason=stop.reason)


@strawberry.type(description="The switch for everything.")
class SendingSwitch:
    on: bool
    at: datetime
    by: str
    reason: str

    @classmethod
    def of(cls, switch: SwitchDocument) -> Self:
        return cls(on=switch.on, at=switch.at, by=switch.by, reason=switch.reason)


@strawberry.input
class AttachmentInput:
    name: str
    media_type: str
    alt_text: str | None = None
    content_base64: str

    def to_draft(self) -> AttachmentDraft:
        return AttachmentDraft(self.name, self.media_type, self.alt_text, self.content_base64)


@strawberry.input
class NoticeInput:
    breach: strawberry.ID
    stage: Stage
    channel: str
    recipient: str = ""
    subject: str = ""
    text: str
    html: str | None = None
    attachments: list[AttachmentInput] = strawberry.field(default_factory=list)
    covers: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="The breaches that a DIGEST tells of."
    )

    def to_draft(self) -> NoticeDraft:
        return NoticeDraft(
            breach=str(self.breach),
            stage=self.stage,
            channel=self.channel,
            recipient=self.recipient.strip(),
            subject=self.subject,
            text=self.text,
            html=self.html,
            attachments=[attachment.to_draft() for attachment in self.attachments],
            covers=[str(key) for key in self.covers],
        )
