"""The schema, and the view that serves it."""

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any, cast

import strawberry
from cross_web import HTTPException
from graphql import GraphQLError, get_operation_ast, parse
from graphql import OperationType as Asked
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.schema.config import StrawberryConfig
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    Message,
    SubscribeMessage,
)
from strawberry.types import ExecutionContext
from strawberry.types.graphql import OperationType

from speedtrap_graph.api.context import Context
from speedtrap_graph.api.guards.bounds import MAX_ERRORS, MAX_JSON_VALUES, MAX_QUERY_CHARS, Limits
from speedtrap_graph.api.guards.errors import public
from speedtrap_graph.api.guards.limits import EXTENSIONS
from speedtrap_graph.api.guards.roles import enforce
from speedtrap_graph.api.mutations import Mutation
from speedtrap_graph.api.queries import Query
from speedtrap_graph.api.services import Services
from speedtrap_graph.api.sharing import SharingExecutor
from speedtrap_graph.api.subscriptions import Subscription
from speedtrap_graph.api.types.scalars import SCALARS
from speedtrap_graph.errors import BadInputError, TooSlowError
from speedtrap_graph.http.quotas import Quotas, rate_limited
from speedtrap_graph.http.socket import SERVICE_RESTART, is_going
from speedtrap_graph.http.trusted import TrustedDocuments, UnknownDocumentError

MAX_ID_CHARS = 100
_TOO_MANY_VALUES = (
    f"The request holds more than {MAX_JSON_VALUES:,} values; send fewer runs at a time"
)
_TOO_LONG = f"The text of the query is longer than {MAX_QUERY_CHARS} characters"


class _Schema(strawberry.Schema):
    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - called by name
    ) -> None:
        """Every way to fail leads through here, extensions' and parsers' failures too."""
        errors[:] = [public(error) for error in errors[:MAX_ERRORS]]

    async def _execute_operation(self, execution_context: ExecutionContext, *rest: Any) -> Any:
        """A query or a mutation, over HTTP or a socket alike; a subscription may take its time."""
        if execution_context.operation_type is OperationType.SUBSCRIPTION:
            only_socket = BadInputError(
                "a subscription needs a WebSocket at this address, with graphql-transport-ws"
            )
            raise GraphQLError(str(only_socket), original_error=only_socket)
        context = cast(Context, execution_context.context)
        limit_s = context.limits.timeout_s
        try:
            with context.services.timing.of(execution_context):
                async with asyncio.timeout(limit_s):
                    return await super()._execute_operation(execution_context, *rest)
        except TimeoutError as error:
            refusal = TooSlowError(
                f"This operation took longer than {limit_s:g} s and was stopped. Ask for less; "
                "what it was to change may or may not have been changed."
            )
            raise GraphQLError(str(refusal), original_error=refusal) from error


SCHEMA = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=EXTENSIONS,
    config=StrawberryConfig(scalar_map=SCALARS),
    execution_context_class=SharingExecutor,
)
enforce(SCHEMA._schema)  # noqa: SLF001 - Strawberry has no public way to all fields


class _Socket(BaseGraphQLTransportWSHandler[Context, None]):
    async def handle_message(self, message: Message) -> None:
        """Strawberry trusts the shape of a message; one of another shape ends the socket."""
        if wrong := _wrong_in(message):
            await self.handle_invalid_message(wrong)
        else:
            await super().handle_message(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Operations on a socket count like requests: the door sees only its opening."""
        wait_s = self.context.quotas.take(self.context.caller)
        if wait_s is not None:
            await self._refuse(message, rate_limited(self.context.caller, wait_s))
            return
        payload = message["payload"]
        if len(str(payload.get("query"))) > MAX_QUERY_CHARS:
            too_long = BadInputError(_TOO_LONG, field="query")
            await self._refuse(message, GraphQLError(_TOO_LONG, original_error=too_long))
            return
        try:
            text = _text_of(self.context.documents, payload.get("query"), payload.get("extensions"))
        except UnknownDocumentError as error:
            await self._refuse(message, GraphQLError(str(error), original_error=error))
            return
        if text is not None:
            payload["query"] = text
        await super().handle_subscribe(message)

    async def shutdown(self) -> None:
        """Where the process is to end: first what was asked is answered, then the client is told
        to come back. Subscriptions end at once; their cursors say where to go on."""
        going = is_going(cast("ASGIWebSocketAdapter", self.websocket).ws.scope)
        if going:
            owed = [task for each in self.operations.values() if (task := _answer_of(each))]
            if owed:
                await asyncio.wait(owed, timeout=self.context.limits.drain_s)
        await super().shutdown()
        if going:
            await self.websocket.close(code=SERVICE_RESTART, reason="Service Restart")

    async def _refuse(self, message: SubscribeMessage, refusal: GraphQLError) -> None:
        error = public(refusal)
        await self.send_message(
            {"id": message["id"], "type": "error", "payload": [error.formatted]}
        )

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> None:
        """A mistake in one operation is told, and does not end the others on its socket."""


def _values_in(data: str | bytes) -> int:
    """At most so many, without reading the JSON: all but the first of a kind have a comma."""
    return data.count(",") if isinstance(data, str) else data.count(b",")


def _wrong_in(message: object) -> str | None:
    """What is wrong with the shape of a message, in words that fit into a close frame."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "A message must be an object with a type"
    if message["type"] not in {"subscribe", "complete"}:
        return None if len(message["type"]) <= MAX_ID_CHARS else "Unknown message type"
    key = message.get("id")
    if not isinstance(key, str) or not 0 < len(key) <= MAX_ID_CHARS:
        return f"id must be text of 1 to {MAX_ID_CHARS} characters"
    payload = message.get("payload") if message["type"] == "subscribe" else {}
    if not isinstance(payload, dict):
        return "payload must be an object"
    kinds = {"query": str, "variables": dict, "operationName": str, "extensions": dict}
    for name, kind in kinds.items():
        if payload.get(name) is not None and not isinstance(payload[name], kind):
            return f"{name} must be {'text' if kind is str else 'an object'}"
    return None


def _answer_of(operation: Operation[Context, None]) -> asyncio.Task[None] | None:
    """What works on its one answer; None for a subscription, and for what cannot be read."""
    try:
        asked = get_operation_ast(parse(operation.query), operation.operation_name)
    except GraphQLError:
        return None
    answers_once = asked is not None and asked.operation is not Asked.SUBSCRIPTION
    return operation.task if answers_once else None


class GraphQLView(GraphQL[Context, None]):
    """graphql-transport-ws and POST only; who calls was found out before it gets here."""

    graphql_transport_ws_handler_class = _Socket

    def __init__(
        self,
        services: Callable[[], Services],
        limits: Limits,
        quotas: Quotas,
        documents: TrustedDocuments | None = None,
    ) -> None:
        super().__init__(
            SCHEMA,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
        )
        self._services = services
        self._limits = limits
        self._quotas = quotas
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        try:
            response = await self.run(Request(scope, receive))
        except HTTPException as error:
            # Strawberry answers in plain text what a GraphQL client cannot read.
            told = {"message": error.reason, "extensions": {"code": "BAD_INPUT"}}
            response = JSONResponse({"errors": [told]}, error.status_code)
        except UnknownDocumentError as error:
            refusal = public(GraphQLError(str(error), original_error=error))
            response = JSONResponse({"errors": [refusal.formatted]})
        await response(scope, receive, send)

    def decode_json(self, data: str | bytes) -> object:
        """Of a request or of a message on a socket; JSONDecodeError for all that is no good.

        Numbers of thousands of digits, nests of hundreds of levels and halves of characters, which
        can be neither stored nor answered, are no good to this parser either.
        """
        if _values_in(data) > MAX_JSON_VALUES:
            raise json.JSONDecodeError(_TOO_MANY_VALUES, "", 0)
        try:
            return from_json(data.removeprefix(BOM_UTF8) if isinstance(data, bytes) else data)
        except ValueError as error:
            raise json.JSONDecodeError("JSON that nobody would write", "", 0) from error

    def parse_json(self, data: str | bytes) -> object:
        if _values_in(data) > MAX_JSON_VALUES:
            raise HTTPException(413, _TOO_MANY_VALUES)
        body = super().parse_json(data)
        if not isinstance(body, dict):
            raise HTTPException(400, "The body must be a JSON object with a query")
        query = body.get("query")
        if isinstance(query, str) and len(query) > MAX_QUERY_CHARS:
            raise HTTPException(400, _TOO_LONG)
        text = _text_of(self._documents, query, body.get("extensions"))
        return body if text is None else {**body, "query": text}

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002 - Strawberry hands it over by name
    ) -> Context:
        return Context(
            caller=request.state.caller,
            services=self._services(),
            limits=self._limits,
            quotas=self._quotas,
            documents=self._documents,
        )


def _text_of(documents: TrustedDocuments | None, query: object, extensions: object) -> str | None:
    """The packaged document that is named by its SHA-256 alone, if one is."""
    if documents is None or query or not isinstance(extensions, dict):
        return None
    return documents.text_of(extensions)
