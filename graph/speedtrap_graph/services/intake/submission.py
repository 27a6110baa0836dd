"""What became of runs that were submitted."""

from dataclasses import dataclass, field
from uuid import UUID

from speedtrap_graph.services.intake.validate import Rejection


@dataclass
class Submission:
    """What became of a batch."""

    accepted: list[UUID] = field(default_factory=list)
    duplicates: list[UUID] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
