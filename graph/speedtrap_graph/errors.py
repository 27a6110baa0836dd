"""What a caller is told when a service refuses: in words, with the field and what is allowed."""

from collections.abc import Mapping, Sequence


class GraphError(Exception):
    """The base of everything that may be shown to a caller."""

    code = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        allowed: Sequence[str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        self.allowed = allowed
        self.details = details or {}


class BadInputError(GraphError):
    """A value that cannot be meant."""

    code = "BAD_INPUT"


class NotFoundError(GraphError):
    """There is no such thing, or none that this caller may see."""

    code = "NOT_FOUND"


class ConflictError(GraphError):
    """The thing is no longer in the state that the caller took it to be in."""

    code = "CONFLICT"


class ForbiddenError(GraphError):
    """This role may not."""

    code = "FORBIDDEN"


class RateLimitedError(GraphError):
    """This key has used up its minute."""

    code = "RATE_LIMITED"


class TooSlowError(GraphError):
    """It took longer than an operation may."""

    code = "TIMEOUT"


_KINDS: list[type[GraphError]] = [GraphError, *GraphError.__subclasses__()]
CODES = tuple(sorted(kind.code for kind in _KINDS))
"""Every code that a caller may be told."""
