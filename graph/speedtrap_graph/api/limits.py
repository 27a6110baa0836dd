"""What a document may cost, and what an error may say."""

import logging
import secrets
from collections.abc import Mapping

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
)
from strawberry.extensions import (
    AddValidationRules,
    MaskErrors,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)

from speedtrap_graph.services.errors import GraphError

_log = logging.getLogger(__name__)

MAX_TOKENS = 2000
MAX_DEPTH = 15
"""Just enough for the introspection that clients send."""
MAX_FIELDS = 1000
MAX_ALIASES = 30


class CostRule(ValidationRule):
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


class PublicErrors(MaskErrors):
    """Refusals speak for themselves; anything unexpected becomes an id that the log carries."""

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unexpected)

    def _process_errors(self, errors: list[GraphQLError]) -> list[GraphQLError]:
        return [_public(error) for error in errors]


def _is_unexpected(error: GraphQLError) -> bool:
    # Errors of syntax and validation have no original; those of resolvers and scalars do.
    return error.original_error is not None and not isinstance(
        error.original_error, (GraphError, GraphQLError)
    )


def _public(error: GraphQLError) -> GraphQLError:
    original = error.original_error
    if isinstance(original, GraphError):
        extensions = {"code": original.code, "field": original.field, "allowed": original.allowed}
        told = {name: value for name, value in extensions.items() if value is not None}
        return _copy(error, str(original), told)
    if _is_unexpected(error):
        error_id = secrets.token_hex(6)
        _log.error("error %s at %s", error_id, error.path, exc_info=original)
        message = f"Something went wrong inside; the service's log has it as {error_id}."
        return _copy(error, message, {"code": "INTERNAL", "id": error_id})
    if "code" not in (error.extensions or {}):
        return _copy(error, error.message, {**(error.extensions or {}), "code": "BAD_INPUT"})
    return error


def _copy(error: GraphQLError, message: str, extensions: Mapping[str, object]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=dict(extensions),
    )


class _Cost(AddValidationRules):
    # The same class for every request: a new one each time would defeat the validation cache.
    def __init__(self) -> None:
        super().__init__([CostRule])


class _Tokens(MaxTokensLimiter):
    def __init__(self) -> None:
        super().__init__(MAX_TOKENS)


class _Parsed(ParserCache):
    def __init__(self) -> None:
        super().__init__(maxsize=256)


class _Validated(ValidationCache):
    def __init__(self) -> None:
        super().__init__(maxsize=256)


EXTENSIONS: list[type[SchemaExtension]] = [PublicErrors, _Tokens, _Cost, _Parsed, _Validated]
