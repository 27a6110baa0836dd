"""Sends packaged documents to graph and turns its answers and failures into values."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic_core import from_json

from speedtrap_web.graphql.bounded import OversizedAnswerError

OPERATIONS_DIR = Path(__file__).parent / "operations"
_SPREAD = re.compile(r"\.\.\.(\w+)")
_HEAD = re.compile(r"^(query|mutation)\s+(\w+)\s*(?:\(([^)]*)\))?", re.MULTILINE)
_VARIABLE = re.compile(r"\$(\w+)\s*:\s*(\[?)(\w+)(?:!?\])?(!?)(\s*=)?")


class GraphError(Exception):
    """Graph gave no answer that a page can be made of."""


class GraphAwayError(GraphError):
    """Not reachable, too slow, or broken on its side: `kind` is a word of the catalogue's."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind} {detail}".strip())
        self.kind = kind
        self.detail = detail


class KeyRefusedError(GraphError):
    """The key is missing, unknown or revoked, or its role may not."""


class RefusedError(GraphError):
    """Graph understood and said no; `field` names what was wrong, if anything was, and `allowed`
    what would have done.
    """

    def __init__(
        self,
        message: str,
        code: str,
        field: str | None = None,
        allowed: Sequence[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.allowed = allowed


class BadVariableError(GraphError):
    """Something in a query string that there is not, that lacks, or that cannot be read."""

    def __init__(self, field: str, problem: str, allowed: Sequence[str] | None = None) -> None:
        choice = "" if allowed is None else f"; allowed: {', '.join(allowed) or 'none'}"
        super().__init__(f"{field}: {problem}{choice}")
        self.field = field
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Variable:
    """`type` is that of one value; `many`: a list of them, in text separated by commas."""

    type: str
    many: bool
    required: bool

    def read(self, name: str, text: str) -> Any:
        if self.many:
            return [self._one(name, part.strip()) for part in text.split(",")]
        return self._one(name, text)

    def _one(self, name: str, text: str) -> str | int | float:
        try:
            if self.type == "Int":
                return int(text)
            if self.type == "Float":
                return float(text)
        except ValueError:
            raise BadVariableError(name, f"must be a number ({self.type})") from None
        return text


@dataclass(frozen=True, slots=True)
class Operation:
    """One packaged document."""

    name: str
    kind: str
    document: str
    variables: Mapping[str, Variable]

    def variables_from_text(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The variables of a query string, in their types."""
        if unknown := sorted(set(given) - set(self.variables)):
            raise BadVariableError(unknown[0], "no such variable", list(self.variables))
        for name, variable in self.variables.items():
            if variable.required and name not in given:
                raise BadVariableError(name, "is missing")
        return {name: self.variables[name].read(name, text) for name, text in given.items()}


def read_operation(document: str) -> Operation:
    head = _HEAD.search(document)
    if head is None:
        raise ValueError("an operation file must hold one named query or mutation")
    kind, name, variables = head.groups()
    found = _VARIABLE.findall(variables or "")
    return Operation(
        name=name,
        kind=kind,
        document=document,
        variables={
            v: Variable(type_, bool(many), bool(bang) and not default)
            for v, many, type_, bang, default in found
        },
    )


def load_operations(folder: Path = OPERATIONS_DIR) -> dict[str, Operation]:
    """Every operation by its name, with those of the shared fragments that it spreads."""
    shared = dict(_texts(folder / "fragments"))
    operations = {}
    for _, text in _texts(folder):
        spread = dict.fromkeys(name for name in _SPREAD.findall(text) if name in shared)
        operation = read_operation("\n".join([text, *(shared[name] for name in spread)]))
        operations[operation.name] = operation
    return operations


def _texts(folder: Path) -> list[tuple[str, str]]:
    return [(p.stem, p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.graphql"))]


class Graph:
    """One client for one graph. `key` is the page's own; a session's key is given call by call."""

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, key: str, timeout_s: float
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._url = f"{base_url}/graphql"
        self._key = key
        self.operations = load_operations()

    async def ask(
        self, name: str, variables: Mapping[str, Any] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """The answer's data, or one of the errors above."""
        operation = self.operations[name]
        body = {
            "query": operation.document,
            "operationName": operation.name,
            "variables": dict(variables or {}),
        }
        return _data(await self._post(json.dumps(body).encode(), key or self._key))

    async def ask_by_hand(self, body: bytes, key: str) -> httpx.Response:
        """Whatever graph answers to a body that a person wrote."""
        return await self._post(body, key)

    async def _post(self, body: bytes, key: str) -> httpx.Response:
        headers = {
            "X-API-Key": key,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        try:
            # httpx counts each read by itself; a trickle must not hold a page for ever.
            async with asyncio.timeout(self._timeout_s):
                return await self._client.post(self._url, content=body, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            raise GraphAwayError("slow") from None
        except OversizedAnswerError:
            raise GraphAwayError("shape") from None
        except (httpx.HTTPError, httpx.InvalidURL):  # of an odd Location, too
            raise GraphAwayError("unreachable") from None


def _data(response: httpx.Response) -> dict[str, Any]:
    if response.status_code in {401, 403}:
        raise KeyRefusedError("the key was refused")
    try:
        # Unlike the standard library's it takes neither nests without end nor half characters.
        answer = from_json(response.content)
    except ValueError:
        raise GraphAwayError("status", str(response.status_code)) from None
    if not isinstance(answer, dict):
        raise GraphAwayError("shape")
    errors = answer.get("errors")
    if errors:
        raise _first_of(errors)
    data = answer.get("data")
    if response.status_code != 200 or not isinstance(data, dict):
        raise GraphAwayError("status", str(response.status_code))
    return data


def _first_of(errors: object) -> GraphError:
    first = errors[0] if isinstance(errors, list) else None
    extensions = first.get("extensions") or {} if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(extensions, dict):
        return GraphAwayError("shape")
    return _error(first, extensions)


def _error(first: Mapping[str, Any], extensions: Mapping[str, Any]) -> GraphError:
    code = str(extensions.get("code", ""))
    message = str(first.get("message", "no reason was given"))
    if code in {"FORBIDDEN", "UNAUTHENTICATED"}:
        return KeyRefusedError(message)
    if code in {"BAD_INPUT", "NOT_FOUND", "CONFLICT"}:
        return RefusedError(message, code, extensions.get("field"), extensions.get("allowed"))
    return GraphAwayError("error", message.rstrip("."))
