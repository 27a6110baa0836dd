"""What a document may look like, what an operation may cost, and how both are held to it."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    get_operation_ast,
)
from strawberry.extensions import (
    AddValidationRules,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)

from speedtrap_graph.api.cost import estimate
from speedtrap_graph.callers import Role
from speedtrap_graph.services.errors import BadInputError, ForbiddenError
from speedtrap_graph.trusted import TrustedDocuments, UntrustedDocumentError

if TYPE_CHECKING:
    from speedtrap_graph.api.context import Context

MAX_TOKENS = 2000
MAX_DEPTH = 15
"""Just enough for the introspection that clients send."""
MAX_FIELDS = 1000
MAX_ALIASES = 30
MAX_VARIABLES = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator may set."""

    max_cost: int = 50_000
    """Documents that one operation may read, as `api.cost` estimates them before it runs."""
    timeout_s: float = 45.0
    """How long a query or a mutation may take; subscriptions may last."""
    drain_s: float = 10.0
    """How long what runs on a socket may go on once the process has been asked to end."""


class ShapeRule(ValidationRule):
    """Depth, fields and aliases, with fragments followed to where they are used.

    Introspection counts like anything else. A ring of fragments is another rule's to report.
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.fragments = {
            definition.name.value: definition
            for definition in context.document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
        try:
            _Walk(self.fragments).walk(node.selection_set, 1, frozenset())
        except GraphQLError as error:
            self.report_error(GraphQLError(error.message, node, extensions={"code": "BAD_INPUT"}))


class _Walk:
    """Counts, and stops at the first limit, so that the count itself stays cheap."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self.fragments = fragments
        self.fields = 0
        self.spreads = 0
        self.aliases = 0

    def walk(self, selections: SelectionSetNode, depth: int, inside: frozenset[str]) -> None:
        if depth > MAX_DEPTH:
            raise GraphQLError(f"This operation is nested deeper than {MAX_DEPTH} levels.")
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                self._spread(node.name.value, depth, inside)
                continue
            if isinstance(node, FieldNode):
                self._count(node)
                if node.selection_set is not None:
                    self.walk(node.selection_set, depth + 1, inside)
            elif isinstance(node, InlineFragmentNode):
                self.walk(node.selection_set, depth, inside)

    def _spread(self, name: str, depth: int, inside: frozenset[str]) -> None:
        # Spreads that lead to no field would otherwise be followed for ever more for nothing.
        self.spreads += 1
        if self.spreads > MAX_FIELDS:
            raise GraphQLError(f"This operation spreads fragments more than {MAX_FIELDS} times.")
        fragment = self.fragments.get(name)
        if fragment is not None and name not in inside:
            self.walk(fragment.selection_set, depth, inside | {name})

    def _count(self, node: FieldNode) -> None:
        self.fields += 1
        self.aliases += node.alias is not None
        if self.fields > MAX_FIELDS:
            raise GraphQLError(f"This operation asks for more than {MAX_FIELDS} fields.")
        if self.aliases > MAX_ALIASES:
            raise GraphQLError(f"This operation has more than {MAX_ALIASES} aliases.")


class Admission(SchemaExtension):
    """After validation, before the first read: trust, introspection, variables, and the estimated
    cost."""

    async def on_execute(self) -> AsyncIterator[None]:
        execution = self.execution_context
        context = cast("Context", execution.context)
        _check_trust(execution.query, context.caller.role, context.documents)
        document = execution.graphql_document
        if document is not None and (
            operation := get_operation_ast(document, execution.operation_name)
        ):
            variables = execution.variables or {}
            if len(variables) > MAX_VARIABLES:
                raise _refused(f"at most {MAX_VARIABLES} variables, not {len(variables)}")
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


class _Shape(AddValidationRules):
    # The same class for every request: a new one each time would defeat the validation cache.
    def __init__(self) -> None:
        super().__init__([ShapeRule])


class _Tokens(MaxTokensLimiter):
    def __init__(self) -> None:
        super().__init__(MAX_TOKENS)


class _Parsed(ParserCache):
    def __init__(self) -> None:
        super().__init__(maxsize=256)

    def on_parse(self) -> Iterator[None]:
        # What cannot be parsed is left to Strawberry, which parses it again and tells the caller:
        # an error from here would end an operation on a socket without a word.
        execution = self.execution_context
        with contextlib.suppress(GraphQLError, RecursionError):
            execution.graphql_document = self.cached_parse_document(
                execution.query, **execution.parse_options
            )
        yield


class _Validated(ValidationCache):
    def __init__(self) -> None:
        super().__init__(maxsize=256)


EXTENSIONS: list[type[SchemaExtension]] = [_Tokens, _Shape, _Parsed, _Validated, Admission]
