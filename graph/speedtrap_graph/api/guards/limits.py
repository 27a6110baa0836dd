"""What a document may look like, what an operation may cost, and how both are held to it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from typing import TypeVar, cast

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_operation_ast,
    parse,
    validate,
)
from strawberry.extensions import (
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
)
from strawberry.types import ExecutionContext

from speedtrap_graph.api.context import Context
from speedtrap_graph.api.guards.bounds import (
    CACHED_CHARS,
    MAX_ALIASES,
    MAX_CACHED,
    MAX_DEPTH,
    MAX_ERRORS,
    MAX_FIELDS,
    MAX_ITEMS,
    MAX_REPEATED,
    MAX_TOKENS,
    MAX_VARIABLES,
)
from speedtrap_graph.api.guards.cost import estimate
from speedtrap_graph.errors import BadInputError, ForbiddenError
from speedtrap_graph.http.callers import Role
from speedtrap_graph.http.trusted import TrustedDocuments, UntrustedDocumentError

T = TypeVar("T")


def shape_errors(document: DocumentNode) -> list[GraphQLError]:
    """Depth, fields, aliases and repetitions, with fragments followed to where they are used.

    Introspection counts like anything else. A ring of fragments is the validation's to report,
    which comes after this: its own work grows with the square of what is repeated.
    """
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            try:
                _Walk(fragments).walk(node.selection_set, 1, frozenset(), _Names())
            except GraphQLError as error:
                told = {"code": "BAD_INPUT"}
                return [GraphQLError(error.message, node, extensions=told)]
    return []


class _Names(dict[str, "_Names"]):
    """What is asked for by response name, with what is asked for inside."""


class _Walk:
    """Counts, and stops at the first limit, so that the count itself stays cheap."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self.fragments = fragments
        self.fields = 0
        self.spreads = 0
        self.aliases = 0
        self.repeated = 0

    def walk(
        self, selections: SelectionSetNode, depth: int, inside: frozenset[str], names: _Names
    ) -> None:
        if depth > MAX_DEPTH:
            raise GraphQLError(f"This operation is nested deeper than {MAX_DEPTH} levels.")
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                self._spread(node.name.value, depth, inside, names)
                continue
            if isinstance(node, FieldNode):
                inner = self._count(node, names)
                if node.selection_set is not None:
                    self.walk(node.selection_set, depth + 1, inside, inner)
            elif isinstance(node, InlineFragmentNode):
                self.walk(node.selection_set, depth, inside, names)

    def _spread(self, name: str, depth: int, inside: frozenset[str], names: _Names) -> None:
        # Spreads that lead to no field would otherwise be followed for ever more for nothing.
        self.spreads += 1
        if self.spreads > MAX_FIELDS:
            raise GraphQLError(f"This operation spreads fragments more than {MAX_FIELDS} times.")
        fragment = self.fragments.get(name)
        if fragment is not None and name not in inside:
            self.walk(fragment.selection_set, depth, inside | {name}, names)

    def _count(self, node: FieldNode, names: _Names) -> _Names:
        """The names inside *node* and whatever is asked for by the same name."""
        self.fields += 1
        self.aliases += node.alias is not None
        if self.fields > MAX_FIELDS:
            raise GraphQLError(f"This operation asks for more than {MAX_FIELDS} fields.")
        if self.aliases > MAX_ALIASES:
            raise GraphQLError(f"This operation has more than {MAX_ALIASES} aliases.")
        name = (node.alias or node.name).value
        if name not in names:
            return names.setdefault(name, _Names())
        self.repeated += 1
        if self.repeated > MAX_REPEATED:
            raise GraphQLError(
                f"This operation asks for more than {MAX_REPEATED} fields again that it has asked "
                "for already."
            )
        return names[name]


class Admission(SchemaExtension):
    """After validation, before the first read: trust, introspection, variables, and the estimated
    cost."""

    async def on_execute(self) -> AsyncIterator[None]:
        execution = self.execution_context
        context = cast(Context, execution.context)
        _check_trust(execution.query, context.caller.role, context.documents)
        document = execution.graphql_document
        if document is not None and (
            operation := get_operation_ast(document, execution.operation_name)
        ):
            variables = execution.variables or {}
            if len(variables) > MAX_VARIABLES:
                raise _refused(f"at most {MAX_VARIABLES} variables, not {len(variables)}")
            _check_items(variables)
            schema = execution.schema._schema  # noqa: SLF001 - Strawberry's own extensions do so
            cost = estimate(schema, document, operation, variables)
            _check_introspection(cost.introspection, context.caller.role)
            if cost.documents > context.limits.max_cost:
                raise _too_costly(cost.documents, context.limits.max_cost, cost.lower, cost.where)
        yield


def _check_trust(text: str | None, role: Role, documents: TrustedDocuments | None) -> None:
    # Only the page's key: what people ask by hand they ask with a key of their own.
    if documents is not None and role is Role.VIEWER and (text or "") not in documents:
        raise _refusal(
            UntrustedDocumentError(
                "this key runs the page's packaged documents only; ask with another role's key",
                field="query",
                allowed=[role.value for role in Role if role is not Role.VIEWER],
            )
        )


def _check_items(variables: Mapping[str, object]) -> None:
    for name, value in variables.items():
        inner: list[object] = []
        if isinstance(value, dict | list) and len(value) <= MAX_ITEMS:
            inner = [*value.values()] if isinstance(value, dict) else value
        for part in (value, *inner):
            if isinstance(part, dict | list) and len(part) > MAX_ITEMS:
                message = f"at most {MAX_ITEMS} items, not {len(part)}"
                raise _refusal(BadInputError(message, field=name))


def _check_introspection(field: str | None, role: Role) -> None:
    # A probe sends one packaged operation, and its key lies about on most machines.
    if field is not None and role is Role.PROBE:
        raise _refusal(
            ForbiddenError(
                "a probe's key does not read the schema; it is in graph/schema.graphql",
                field=field,
                allowed=[role.value for role in Role if role is not Role.PROBE],
            )
        )


def _too_costly(cost: int, limit: int, lower: str | None, where: str) -> GraphQLError:
    lowered = f"Lower `{lower}`, or ask" if lower else "Ask"
    return _refusal(
        BadInputError(
            f"This operation may read about {cost} documents, and at most {limit} are allowed. "
            f"Most of it is {where}. {lowered} for less inside.",
            field=lower,
            details={"cost": cost, "limit": limit},
        )
    )


def _refused(message: str) -> GraphQLError:
    return _refusal(BadInputError(message, field="variables"))


def _refusal(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), original_error=error)


class _Tokens(MaxTokensLimiter):
    def __init__(self) -> None:
        super().__init__(MAX_TOKENS)


class _Parsed(ParserCache):
    def __init__(self) -> None:
        super().__init__(maxsize=MAX_CACHED)

    async def on_parse(self) -> AsyncIterator[None]:  # type: ignore[override] # Strawberry awaits either
        # What cannot be parsed is left to Strawberry, which parses it again and tells the caller:
        # an error from here would end an operation on a socket without a word.
        execution = self.execution_context
        text = execution.query or ""
        with contextlib.suppress(GraphQLError, RecursionError):
            if len(text) > CACHED_CHARS:
                read = partial(parse, text, **execution.parse_options)
                execution.graphql_document = await _aside(read, execution)
            else:
                execution.graphql_document = self.cached_parse_document(
                    text, **execution.parse_options
                )
        yield


async def _aside(work: Callable[[], T], execution: ExecutionContext) -> T:
    """In another thread, charged to the caller: it would hold up everybody else's answers."""
    spent_s = [0.0]

    def timed() -> T:
        begun = time.thread_time()
        try:
            return work()
        finally:
            spent_s[0] = time.thread_time() - begun

    context = cast(Context, execution.context)
    try:
        return await asyncio.to_thread(timed)
    finally:
        context.quotas.charge_cpu(context.caller, spent_s[0])


Rules = tuple[type[ASTValidationRule], ...]


def _errors_of(schema: GraphQLSchema, document: DocumentNode, rules: Rules) -> list[GraphQLError]:
    # What is beyond the limit is told in one more error.
    return shape_errors(document) or validate(schema, document, rules, max_errors=MAX_ERRORS - 1)


_errors_of_known = lru_cache(maxsize=MAX_CACHED)(_errors_of)


class _Validated(SchemaExtension):
    async def on_validate(self) -> AsyncIterator[None]:
        execution = self.execution_context
        document = execution.graphql_document
        if document is not None and execution.pre_execution_errors is None:
            schema = execution.schema._schema  # noqa: SLF001 - Strawberry's own extensions do so
            rules = execution.validation_rules
            if len(execution.query or "") <= CACHED_CHARS:
                found = _errors_of_known(schema, document, rules)
            else:
                found = await _aside(partial(_errors_of, schema, document, rules), execution)
            # A copy: what is told is written over what was found.
            execution.pre_execution_errors = [*found]
        yield


EXTENSIONS: list[type[SchemaExtension]] = [_Tokens, _Parsed, _Validated, Admission]
