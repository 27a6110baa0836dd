"""How long operations took in this process, by what they ask for and not by the names that clients
give them, of which there is no end.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphql import DocumentNode, FieldNode, get_operation_ast
from prometheus_client import Histogram
from strawberry.types import ExecutionContext

OPERATION_SECONDS = "speedtrap_operation_duration_seconds"
_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 45)
SEVERAL = "several"


def _histogram() -> Histogram:
    return Histogram(
        OPERATION_SECONDS,
        "How long queries and mutations took, by their root field.",
        ["type", "field"],
        buckets=_BUCKETS_S,
        registry=None,
    )


@dataclass(frozen=True)
class Timing:
    histogram: Histogram = field(default_factory=_histogram)

    @contextmanager
    def of(self, execution: ExecutionContext) -> Iterator[None]:
        """Of one operation, whatever becomes of it."""
        kind = execution.operation_type.value
        asked = root_field(execution.graphql_document, execution.operation_name)
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.histogram.labels(kind, asked).observe(time.perf_counter() - begun)


def root_field(document: DocumentNode | None, name: str | None) -> str:
    """The one field that a valid operation asks for: as many as the schema has, and `several`."""
    operation = None if document is None else get_operation_ast(document, name)
    if operation is None:
        return SEVERAL
    asked = {
        part.name.value if isinstance(part, FieldNode) else SEVERAL
        for part in operation.selection_set.selections
    }
    return asked.pop() if len(asked) == 1 else SEVERAL
