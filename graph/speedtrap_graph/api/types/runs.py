"""Runs and what is in them."""

from datetime import datetime
from typing import Self
from uuid import UUID

import strawberry

from speedtrap_graph.api.context import Info
from speedtrap_graph.api.types.enums import FailureKind, Medium, Outcome
from speedtrap_graph.api.types.plans import Plan
from speedtrap_graph.api.types.scalars import BigInt
from speedtrap_graph.rules.doubts import LOCAL_TOOLS
from speedtrap_graph.rules.model import Metric
from speedtrap_graph.services.intake import delete_run
from speedtrap_graph.store.documents import (
    ConditionsPart,
    FailurePart,
    MeasurementPart,
    RunDocument,
    ServerPart,
)
from speedtrap_graph.store.paging import Page

LOCAL = "The tool measures the way to speedtrap's own server and says nothing about the line."


@strawberry.type
class Conditions:
    line_up: bool | None
    medium: Medium
    cross_traffic_mbps: float | None = strawberry.field(
        description="The household's own, both directions together."
    )
    cross_traffic_down_mbps: float | None
    cross_traffic_up_mbps: float | None
    cpu_percent: float | None
    cpu_wait_percent: float | None = strawberry.field(
        description="For which share of the run the probe was ready to run and given no processor."
    )
    public_ip_hash: str | None
    platform: str | None
    probe_version: str | None
    link_mbps: float | None = strawberry.field(
        description="What the probe's network interface negotiated."
    )
    vpn: bool | None
    on_battery: bool | None
    clock_offset_ms: float | None = strawberry.field(
        description="How far the service's clock was ahead of the probe's when the run began."
    )
    notes: list[str] = strawberry.field(description="Sentences for people.")

    @classmethod
    def of(cls, part: ConditionsPart) -> Self:
        return cls(**{**part.model_dump(), "medium": Medium(part.medium)})


@strawberry.type
class Server:
    id: str | None
    name: str | None
    host: str | None
    location: str | None

    @classmethod
    def of(cls, part: ServerPart) -> Self:
        return cls(**part.model_dump())


@strawberry.type
class Failure:
    kind: FailureKind
    message: str

    @classmethod
    def of(cls, part: FailurePart) -> Self:
        return cls(kind=FailureKind(part.kind), message=part.message)


@strawberry.type
class Measurement:
    tool: str
    local: bool = strawberry.field(description=LOCAL)
    tool_version: str | None
    started_at: datetime
    duration_s: float
    download_mbps: float | None
    upload_mbps: float | None
    latency_ms: float | None
    jitter_ms: float | None
    packet_loss_ratio: float | None
    loaded_latency_down_ms: float | None
    loaded_latency_up_ms: float | None
    bytes_received: BigInt | None
    bytes_sent: BigInt | None
    server: Server | None
    result_url: str | None
    failure: Failure | None

    @classmethod
    def of(cls, part: MeasurementPart) -> Self:
        plain = part.model_dump(exclude={"server", "failure"})
        return cls(
            **plain,
            local=part.tool in LOCAL_TOOLS,
            server=None if part.server is None else Server.of(part.server),
            failure=None if part.failure is None else Failure.of(part.failure),
        )


@strawberry.type
class Run:
    id: UUID
    probe: str
    started_at: datetime
    finished_at: datetime
    received_at: datetime
    conditions: Conditions
    measurements: list[Measurement]
    outcome: Outcome
    outcome_reason: str = strawberry.field(description="In words, why the outcome is what it is.")
    download_mbps: float | None = strawberry.field(
        description="The observation: the best internet tool's figure; null unless MEASURED."
    )
    upload_mbps: float | None
    latency_ms: float | None

    @classmethod
    def of(cls, run: RunDocument) -> Self:
        return cls(
            id=run.id,
            probe=run.probe,
            started_at=run.started_at,
            finished_at=run.finished_at,
            received_at=run.received_at,
            conditions=Conditions.of(run.conditions),
            measurements=[Measurement.of(part) for part in run.measurements],
            outcome=Outcome(run.outcome),
            outcome_reason=run.outcome_reason,
            download_mbps=run.best.get(Metric.DOWNLOAD),
            upload_mbps=run.best.get(Metric.UPLOAD),
            latency_ms=run.best.get(Metric.LATENCY),
        )

    @strawberry.field(description="The plan in force when the run started.")
    async def plan(self, info: Info) -> Plan | None:
        standards = await info.context.standards.load(self.probe)
        plan = standards.plan_document_at(self.started_at)
        return None if plan is None else Plan.of(plan)

    @strawberry.field
    async def ratio_of_subscribed(self, info: Info) -> float | None:
        plan = (await info.context.standards.load(self.probe)).plan_document_at(self.started_at)
        if plan is None or self.download_mbps is None:
            return None
        return self.download_mbps / plan.download_mbps


@strawberry.type(description="What is left of a run that an admin deleted.")
class DeletedRun:
    id: UUID
    probe: str
    started_at: datetime
    deleted_at: datetime
    by: str
    reason: str

    @classmethod
    def of(cls, found: delete_run.DeletedRun) -> Self:
        return cls(
            id=found.id,
            probe=found.probe,
            started_at=found.started_at,
            deleted_at=found.deleted_at,
            by=found.by,
            reason=found.reason,
        )


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None

    @classmethod
    def of(cls, page: Page) -> Self:
        return cls(
            has_next_page=page.has_next, end_cursor=page.cursors[-1] if page.cursors else None
        )


@strawberry.type
class RunEdge:
    cursor: str
    node: Run


@strawberry.type
class RunConnection:
    edges: list[RunEdge]
    nodes: list[Run]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page) -> Self:
        nodes = [Run.of(RunDocument.model_validate(row)) for row in page.rows]
        edges = [
            RunEdge(cursor=cursor, node=node)
            for cursor, node in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=PageInfo.of(page))
