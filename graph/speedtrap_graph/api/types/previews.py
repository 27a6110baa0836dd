"""What another plan or rule would change."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.types.enums import BreachChangeKind, BreachStatus
from speedtrap_graph.api.types.notices import Breach, Notice
from speedtrap_graph.api.types.plans import Rule
from speedtrap_graph.rules.model import Episode
from speedtrap_graph.services.breaches import preview


@strawberry.type(description="A breach as it would be.")
class BreachFigures:
    status: BreachStatus
    first_run_at: datetime
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None
    count: int
    median: float | None = strawberry.field(description="In the metric's unit.")

    @classmethod
    def of(cls, episode: Episode) -> Self:
        is_open = episode.resolved_at is None
        return cls(
            status=BreachStatus.OPEN if is_open else BreachStatus.RESOLVED,
            first_run_at=episode.first_run_at,
            opened_at=episode.opened_at,
            last_run_at=episode.last_run_at,
            resolved_at=episode.resolved_at,
            count=episode.count,
            median=episode.median,
        )


@strawberry.type
class BreachChange:
    kind: BreachChangeKind
    probe: str
    rule: Rule
    before: Breach | None = strawberry.field(description="As on record; null for one that appears.")
    after: BreachFigures | None = strawberry.field(description="Null for one that vanishes.")
    would_be_announced: bool = strawberry.field(
        description="Of one that appears: it is open and young, so it would be news; others are "
        "recorded only."
    )
    withdrawn: list[Notice] = strawberry.field(
        description="Notices that wait and would be withdrawn."
    )
    contradicted: list[Notice] = strawberry.field(
        description="Notices that may have been read and would be marked as contradicted."
    )

    @classmethod
    def of(cls, change: preview.BreachChange) -> Self:
        return cls(
            kind=BreachChangeKind(change.kind),
            probe=change.probe,
            rule=Rule.of(change.rule),
            before=None if change.before is None else Breach.of(change.before),
            after=None if change.after is None else BreachFigures.of(change.after),
            would_be_announced=change.would_be_announced,
            withdrawn=[Notice.of(notice) for notice in change.withdrawn],
            contradicted=[Notice.of(notice) for notice in change.contradicted],
        )


@strawberry.type(description="What a change would do. Nothing has been changed.")
class RejudgePreview:
    probes: int = strawberry.field(description="Probes that it concerns.")
    runs: int = strawberry.field(description="Their runs, all of which would be judged again.")
    runs_changed: int = strawberry.field(
        description="Runs whose outcome or observation would be another one."
    )
    appearing: int
    vanishing: int
    changing: int
    changes: list[BreachChange] = strawberry.field(
        description="The breaches that would appear, vanish or change; at most 200."
    )

    @classmethod
    def of(cls, found: preview.Preview) -> Self:
        return cls(
            probes=found.probes,
            runs=found.runs,
            runs_changed=found.runs_changed,
            appearing=found.count(preview.BreachChangeKind.APPEARS),
            vanishing=found.count(preview.BreachChangeKind.VANISHES),
            changing=found.count(preview.BreachChangeKind.CHANGES),
            changes=[BreachChange.of(change) for change in found.changes[: preview.MOST_CHANGES]],
        )
