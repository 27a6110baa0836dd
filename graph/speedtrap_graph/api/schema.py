"""The schema, and the view that serves it."""

from collections.abc import Callable

import strawberry
from cross_web import HTTPException
from graphql import GraphQLError, GraphQLSyntaxError
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionContext

from speedtrap_graph.api.context import Context, Services
from speedtrap_graph.api.limits import EXTENSIONS
from speedtrap_graph.api.mutations import Mutation
from speedtrap_graph.api.queries import Query
from speedtrap_graph.api.scalars import SCALARS
from speedtrap_graph.api.subscriptions import Subscription


class _Schema(strawberry.Schema):
    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - called by name
    ) -> None:
        """A caller's mistake is no event for the log; `PublicErrors` logs what is one.

        A syntax error passes by the extensions (`ParserCache` raises it), so it gets its code here.
        """
        for error in errors:
            if isinstance(error, GraphQLSyntaxError):
                error.extensions = {"code": "BAD_INPUT"}


SCHEMA = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=EXTENSIONS,
    config=StrawberryConfig(scalar_map=SCALARS),
)


class GraphQLView(GraphQL[Context, None]):
    """graphql-transport-ws and POST only; who calls was found out before it gets here."""

    def __init__(self, services: Callable[[], Services]) -> None:
        super().__init__(
            SCHEMA,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
        )
        self._services = services

    def parse_json(self, data: str | bytes) -> object:
        try:
            body = super().parse_json(data)
        except (ValueError, RecursionError) as error:
            # Numbers of thousands of digits and nests of thousands of levels.
            raise HTTPException(400, "The body is JSON that nobody would write") from error
        if not isinstance(body, (dict, list)):
            raise HTTPException(400, "The body must be a JSON object with a query")
        return body

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002 - Strawberry hands it over by name
    ) -> Context:
        return Context(caller=request.state.caller, services=self._services())
