"""How many documents an operation may make the service read, estimated before it runs.

A field's own reads and the number of results that its subfields are asked of are written down
here, beside each other; both multiply on the way down. A field that is not in the table reads
nothing. It is an upper estimate of the work, not a promise of what is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
)

from speedtrap_graph.timestamps import parse_moment

MOST_DAYS = 366
"""Longer windows are answered from months, so they cost no more than a year of days."""
_HOURS_AT_THE_EDGES = 48


@dataclass(frozen=True, slots=True)
class Weight:
    """`reads`: documents the field reads. `items`: results that its subfields are asked of.

    `by` names the argument that says how many, for both; `window` is True where the days between
    `since` and `until` do.
    """

    reads: int = 0
    items: int = 1
    by: str | None = None
    window: bool = False


ONE = Weight(reads=1)
_PAGE = Weight(by="first")

WEIGHTS: Mapping[str, Weight] = {
    "Query.me": Weight(),
    "Query.probes": Weight(reads=20, items=20),
    "Query.probe": ONE,
    "Query.runs": _PAGE,
    "Query.run": ONE,
    "Query.history": Weight(by="buckets"),
    "Query.serviceReport": Weight(window=True),
    "Query.breaches": _PAGE,
    "Query.breach": ONE,
    "Query.notices": _PAGE,
    "Query.notice": ONE,
    "Query.eventCursor": ONE,
    "Query.plans": Weight(reads=20, items=20),
    "Query.changes": ONE,
    "Query.deletedRun": ONE,
    "Query.deletedRuns": _PAGE,
    "Query.deletedProbes": _PAGE,
    "Query.findings": Weight(reads=1000, items=5),
    "Query.rejudgePreview": Weight(reads=2000),
    "RejudgePreview.changes": Weight(reads=50, items=5),
    "Query.probeEvents": _PAGE,
    "Query.dueForDigest": Weight(reads=20, items=20),
    "Query.channels": Weight(reads=50, items=5),
    "Query.sending": Weight(reads=20, items=20),
    "Query.stops": Weight(reads=20, items=20),
    "Query.keys": Weight(reads=20, items=20),
    "Query.retention": Weight(reads=2),
    "Probe.plan": ONE,
    "Probe.plans": Weight(reads=1, items=5),
    "Probe.rules": Weight(reads=1, items=5),
    "Probe.lastRun": ONE,
    "Probe.streak": Weight(reads=50),
    "Probe.openBreach": ONE,
    "Probe.silence": ONE,
    "Probe.silent": ONE,
    "Run.plan": ONE,
    "Run.ratioOfSubscribed": ONE,
    "Breach.runs": Weight(reads=500, items=500),
    "Breach.window": Weight(reads=500, items=500),
    "Breach.observations": Weight(reads=500, items=1000),
    "Breach.notices": Weight(reads=10, items=10),
    "Notice.breach": ONE,
    "Notice.obstacle": ONE,
    "Notice.covers": Weight(reads=20, items=20),
    "Notice.toldIn": ONE,
    "Attachment.contentBase64": ONE,
    # Per event.
    "Subscription.breaches": Weight(reads=2),
    "Subscription.runs": ONE,
    "Subscription.probeEvents": ONE,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """`where` is the costliest place, and `lower` the argument that would help most there.

    `introspection` is the field that reads the schema itself, if there is one.
    """

    documents: int
    where: str
    lower: str | None
    introspection: str | None


def estimate(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> Cost:
    """What *operation* may cost; the document has been validated, so names exist and end."""
    root = schema.get_root_type(operation.operation)
    walk = _Walk(schema, _fragments(document), _given(operation, variables))
    if isinstance(root, GraphQLObjectType):
        walk.selections(operation.selection_set, root, 1, ())
    return Cost(walk.total, " → ".join(walk.path), walk.lower, walk.introspection)


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


def _given(operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with their defaults; values are looked at, not yet converted."""
    given = dict(variables)
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name not in given and definition.default_value is not None:
            given[name] = _literal(definition.default_value)
    return given


def _literal(node: ValueNode) -> Any:
    if isinstance(node, IntValueNode):
        return int(node.value)
    if isinstance(node, StringValueNode):
        return node.value
    if isinstance(node, ListValueNode):
        return list(node.values)
    return None


@dataclass
class _Walk:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]
    total: int = 0
    most: int = 0
    path: tuple[str, ...] = ()
    lower: str | None = None
    introspection: str | None = None
    _by: dict[tuple[str, ...], str] = field(default_factory=dict)

    def selections(
        self, node: SelectionSetNode, parent: GraphQLObjectType, times: int, path: tuple[str, ...]
    ) -> None:
        for child in node.selections:
            if isinstance(child, FieldNode):
                self._field(child, parent, times, path)
            elif isinstance(child, InlineFragmentNode):
                self.selections(child.selection_set, parent, times, path)
            elif isinstance(child, FragmentSpreadNode):
                fragment = self.fragments[child.name.value]
                self.selections(fragment.selection_set, parent, times, path)

    def _field(
        self, node: FieldNode, parent: GraphQLObjectType, times: int, path: tuple[str, ...]
    ) -> None:
        definition = parent.fields.get(node.name.value)
        if definition is None:
            self._note_introspection(node.name.value)
            return
        weight = WEIGHTS.get(f"{parent.name}.{node.name.value}", Weight())
        reads, items = self._numbers(weight, node, definition)
        here = (*path, node.name.value)
        if weight.by is not None:
            self._by[here] = f"{node.name.value}.{weight.by}"
        self.total += times * reads
        if times * reads > self.most:
            self.most, self.path = times * reads, here
            self.lower = self._outermost(here)
        inner = get_named_type(definition.type)
        if node.selection_set is not None and isinstance(inner, GraphQLObjectType):
            self.selections(node.selection_set, inner, times * items, here)

    def _note_introspection(self, name: str) -> None:
        if name in {"__schema", "__type"}:
            self.introspection = name

    def _outermost(self, path: tuple[str, ...]) -> str | None:
        found = (self._by.get(path[:length]) for length in range(1, len(path) + 1))
        return next((name for name in found if name is not None), None)

    def _numbers(
        self, weight: Weight, node: FieldNode, definition: GraphQLField
    ) -> tuple[int, int]:
        if weight.window:
            return self._days(node) + _HOURS_AT_THE_EDGES, 1
        if weight.by is None:
            return weight.reads, weight.items
        number = self._argument(node, weight.by)
        if number is Undefined:
            number = definition.args[weight.by].default_value
        if isinstance(number, float) and number.is_integer():
            number = int(number)  # as GraphQL takes 500.0 for an Int
        if not isinstance(number, int) or not 0 <= number < 2**31:
            return 1, 1  # it is refused for what it is
        return number, max(number, 1)

    def _days(self, node: FieldNode) -> int:
        since, until = (_moment(self._argument(node, name)) for name in ("since", "until"))
        if since is None or until is None or until <= since:
            return MOST_DAYS
        return min((until - since).days + 1, MOST_DAYS)

    def _argument(self, node: FieldNode, name: str) -> Any:
        for argument in node.arguments or ():
            if argument.name.value == name:
                if isinstance(argument.value, VariableNode):
                    return self.variables.get(argument.value.name.value, Undefined)
                return _literal(argument.value)
        return Undefined


def _moment(value: Any) -> datetime | None:
    try:
        return parse_moment(value)
    except ValueError:
        return None
