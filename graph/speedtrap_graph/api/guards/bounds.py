"""How large a document may be, and what an operator may set."""

from dataclasses import dataclass

MAX_TOKENS = 2000
MAX_DEPTH = 15
"""Just enough for the introspection that clients send."""
MAX_FIELDS = 1000
MAX_ALIASES = 30
MAX_VARIABLES = 100
MAX_ITEMS = 1_000
"""Of a list or an object among the variables: GraphQL looks at each of them, twice."""
MAX_REPEATED = 50
"""Selections that ask again for what is asked for already: each is compared with all the others."""
MAX_QUERY_CHARS = 65_536
MAX_JSON_VALUES = 200_000
"""Of a request: objects of them hold up everybody while they are made, a microsecond each."""
MAX_ERRORS = 5
CACHED_CHARS = 4_096
"""Longer documents are parsed and validated each time: a parsed one takes sixty times its text."""
MAX_CACHED = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator may set."""

    max_cost: int = 50_000
    """Documents that one operation may read, as `api.cost` estimates them before it runs."""
    timeout_s: float = 45.0
    """How long a query or a mutation may take; subscriptions may last."""
    drain_s: float = 10.0
    """How long what runs on a socket may go on once the process has been asked to end."""
