"""What a caller is told of a failure: words, a code, and where they help, field and allowed."""

import logging
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence

from graphql import GraphQLError

from speedtrap_graph.errors import GraphError

_log = logging.getLogger(__name__)

# graphql-core says in words alone what it found; these patterns read the field out of them.
_FIELDS = (
    re.compile(r"^Cannot query field '(?P<field>\w+)'"),
    re.compile(r"^Unknown argument '(?P<field>\w+)'"),
    re.compile(r"^Argument '[\w.]+\((?P<field>\w+):\)'"),
    re.compile(r"^Variable '\$(?P<field>\w+)'"),
    re.compile(r"^Field '(?:\w+\.)?(?P<field>\w+)'"),
)
_SUGGESTING = "Did you mean "
_MOST_CHARS = 1000
"""Of a message: what was sent may be repeated in it."""
_QUOTED = re.compile(r"'(\w+)'")

TOLD: Counter[str] = Counter()
"""How many errors of each code callers were told since the start, for /metrics."""


def public(error: GraphQLError) -> GraphQLError:
    """*error* as it may be told. Refusals speak for themselves; the rest is masked."""
    original = error.original_error
    if isinstance(original, GraphError):
        return _copy(error, str(original), _extensions(original))
    if isinstance(original, RecursionError):
        return _copy(error, "This operation is nested too deeply.", {"code": "BAD_INPUT"})
    if isinstance(original, ValueError) and "integer string conversion" in str(original):
        # Python's own limit, met by graphql-core while it reads a number in the query.
        return _copy(error, "A number in this query has too many digits.", {"code": "BAD_INPUT"})
    if original is not None and not isinstance(original, GraphQLError):
        return _masked(error, original)
    if "code" in (error.extensions or {}):
        return error
    inner = getattr(original, "extensions", None) or {}
    message = error.message
    if len(message) > _MOST_CHARS:
        message = f"{message[:_MOST_CHARS]}…"
    return _copy(error, message, {"code": "BAD_INPUT", **_hints(message), **inner})


def _extensions(refusal: GraphError) -> dict[str, object]:
    told = {
        "code": refusal.code,
        "field": refusal.field,
        "allowed": refusal.allowed,
        **refusal.details,
    }
    return {name: value for name, value in told.items() if value is not None}


def _masked(error: GraphQLError, original: Exception) -> GraphQLError:
    error_id = secrets.token_hex(6)
    told = {"error_id": error_id, "path": error.path}
    _log.error("error %s at %s", error_id, error.path, exc_info=original, extra=told)
    message = f"Something went wrong inside; the service's log has it as {error_id}."
    return _copy(error, message, {"code": "INTERNAL", "id": error_id})


def _hints(message: str) -> dict[str, object]:
    hints: dict[str, object] = {}
    for pattern in _FIELDS:
        if found := pattern.search(message):
            hints["field"] = found["field"]
            break
    _, suggesting, suggested = message.rpartition(_SUGGESTING)
    if suggesting and (names := _quoted(suggested)):
        hints["allowed"] = names
    return hints


def _quoted(text: str) -> Sequence[str]:
    return _QUOTED.findall(text)


def _copy(error: GraphQLError, message: str, extensions: Mapping[str, object]) -> GraphQLError:
    TOLD[str(extensions["code"])] += 1
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=dict(extensions),
    )
