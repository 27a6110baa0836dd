"""What an operator looks after: who has a key, and how long runs are kept."""

from datetime import datetime
from typing import Self

import strawberry

from speedtrap_graph.api.types.enums import Role
from speedtrap_graph.services.probes import remove
from speedtrap_graph.services.upkeep import retention


@strawberry.type(description="Who may call; the key itself is never shown.")
class Key:
    name: str
    role: Role
    last_seen_at: datetime | None = strawberry.field(
        description="To ten minutes; null: never, as far as is known."
    )


@strawberry.type(
    description="How long runs are kept one by one. Older ones go into hours, days and months, "
    "which are kept for ever."
)
class Retention:
    days: int | None = strawberry.field(description="Null: for ever.")
    at: datetime | None = strawberry.field(description="When this was decided; null: it never was.")
    by: str | None
    swept_at: datetime | None = strawberry.field(description="When old runs were last looked for.")
    removed_runs: int = strawberry.field(description="All that have gone so far.")

    @classmethod
    def of(cls, found: retention.Retention) -> Self:
        return cls(
            days=found.days,
            at=found.at,
            by=found.by,
            swept_at=found.swept_at,
            removed_runs=found.removed_runs,
        )


@strawberry.type(description="What is left of a probe that was deleted.")
class DeletedProbe:
    name: str
    by: str
    reason: str
    at: datetime
    done_at: datetime | None = strawberry.field(
        description="Null while some of it is still there: it goes on in the background, also "
        "after a restart."
    )
    runs: int = strawberry.field(description="That went so far, with those rolled up before.")
    breaches: int
    notices: int
    documents: int = strawberry.field(description="All that went so far, of every kind.")

    @classmethod
    def of(cls, found: remove.DeletedProbe) -> Self:
        counts = found.counts
        return cls(
            name=found.name,
            by=found.by,
            reason=found.reason,
            at=found.at,
            done_at=found.done_at,
            runs=counts.get("runs", 0) + counts.get("past_runs", 0),
            breaches=counts.get("breaches", 0),
            notices=counts.get("notices", 0),
            documents=sum(counts.values()),
        )
