"""What this process has taken in since it started: plain numbers, for `/metrics`."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from pydantic.alias_generators import to_camel

from speedtrap_graph.services.intake.validate import (
    Rejection,
    SubmittedConditions,
    SubmittedFailure,
    SubmittedMeasurement,
    SubmittedRun,
    SubmittedServer,
)

_INDEX = re.compile(r"\[\d+\]")


class Taken(Protocol):
    """What became of a batch of runs."""

    accepted: list[UUID]
    duplicates: list[UUID]
    rejected: list[Rejection]


@dataclass
class SubmissionCounts:
    """Runs by what became of them, and the rejected ones by the field that was wrong.

    `rejected` has no more keys than a run has fields: whatever else somebody invents is `unknown`.
    """

    runs: Counter[str] = field(default_factory=lambda: Counter(accepted=0, duplicate=0, rejected=0))
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, taken: Taken) -> None:
        self.runs["accepted"] += len(taken.accepted)
        self.runs["duplicate"] += len(taken.duplicates)
        self.runs["rejected"] += len(taken.rejected)
        for rejection in taken.rejected:
            self.rejected[_reason(rejection.field)] += 1


def _reason(path: str) -> str:
    """The field without its place in a list, e.g. `measurements.downloadMbps`."""
    named = _INDEX.sub("", path)
    return named if named in _FIELDS else "unknown"


def _fields(part: type, above: Sequence[str] = ()) -> Iterator[str]:
    for name in part.__annotations__:
        path = (*above, to_camel(name))
        yield ".".join(path)
        if (inner := _PARTS.get(name)) is not None:
            yield from _fields(inner, path)


_PARTS: dict[str, type] = {
    "conditions": SubmittedConditions,
    "measurements": SubmittedMeasurement,
    "server": SubmittedServer,
    "failure": SubmittedFailure,
}
_FIELDS = frozenset(_fields(SubmittedRun)) | {"run"}
