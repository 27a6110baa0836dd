"""One answer for all who ask the same about one event.

Nearly all of what an event costs is the execution of its subscribers' documents, and a thousand
open pages have one document and one key between them.
"""

import asyncio
from collections.abc import Hashable
from typing import Any

from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from speedtrap_graph.api.types.notices import BreachEvent


class SharingExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes as any other, but a breach's event only once for each document, set of variables and
    caller: roles and names decide what may be seen.
    """

    def execute_operation(self, serially: bool | None = None) -> Any:
        event = self.root_value
        if not isinstance(event, BreachEvent):
            return super().execute_operation(serially)
        key: Hashable = (
            id(self.operation),
            self.context_value.caller,
            repr(self.variable_values.coerced),
        )
        if key not in event.answers:
            answer = super().execute_operation(serially)
            if self.is_awaitable(answer):
                answer = asyncio.ensure_future(answer)
            # With the operation, so that no other one gets its id meanwhile.
            event.answers[key] = (self.operation, answer)
        _, answer = event.answers[key]
        # Whoever goes away does not take the others' answer along.
        return asyncio.shield(answer) if isinstance(answer, asyncio.Future) else answer
