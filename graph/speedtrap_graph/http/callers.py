"""Who is calling: keys from a file in NGINX map form, or the gateway's word for it.

A line of the file reads `"<key>" "<name>:<role>";`. The gateway reads the same file.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

_LINE = re.compile(r'^"(?P<key>[^"]{16,200})"\s+"(?P<name>[^":]+):(?P<role>[a-z]+)";$')
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

CALLER_HEADER = "x-speedtrap-caller"
"""Set by the gateway alone, which strips what a client sends under this name."""

GATEWAY_HEADER = "x-speedtrap-gateway"
"""The secret by which graph knows the gateway from whoever else reaches its port."""


class Role(StrEnum):
    """What a caller may do."""

    PROBE = "PROBE"
    VIEWER = "VIEWER"
    BOT = "BOT"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    role: Role


class KeyFileError(ValueError):
    """The key file cannot be used; the message names the line but never a key."""


class Callers(Protocol):
    """Finds the caller of a request by its headers (names in lower case)."""

    def identify(self, headers: Mapping[str, str]) -> Caller | None: ...

    def known(self) -> Sequence[Caller] | None:
        """All who have a key, as far as there is a file to read that in; None without one."""


def parse_caller(text: str) -> Caller | None:
    """`name:role`, as in the key file and in the gateway's header."""
    name, _, role = text.rpartition(":")
    if not _NAME.fullmatch(name) or role.upper() not in Role.__members__ or role != role.lower():
        return None
    return Caller(name, Role(role.upper()))


def parse_keys(text: str) -> dict[bytes, Caller]:
    """Callers by the SHA-256 of their key, so that no key stays in memory."""
    found: dict[bytes, Caller] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        caller = parse_caller(f"{match['name']}:{match['role']}") if match else None
        if match is None or caller is None:
            raise KeyFileError(
                f'line {number} is not of the form "<key>" "<name>:<role>"; with a key of at least '
                f"16 characters and a role of {', '.join(r.value.lower() for r in Role)}"
            )
        found[_digest(match["key"])] = caller
    return found


def presented_key(headers: Mapping[str, str]) -> str | None:
    """`X-API-Key`, `Authorization: Bearer`, or the older `auth` header."""
    if key := headers.get("x-api-key"):
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("auth")


@dataclass
class KeyFile:
    """Read again whenever the file has changed, so that a revoked key is dead at once."""

    path: Path
    _seen: tuple[int, int, int] | None = field(default=None, repr=False)
    _callers: dict[bytes, Caller] = field(default_factory=dict, repr=False)

    def identify(self, headers: Mapping[str, str]) -> Caller | None:
        key = presented_key(headers)
        if key is None:
            return None
        return self._current().get(_digest(key))

    def knows(self, caller: Caller) -> bool:
        """Whether any key of the file is still this caller's."""
        return caller in self._current().values()

    def known(self) -> Sequence[Caller]:
        return sorted(set(self._current().values()), key=lambda caller: (caller.name, caller.role))

    def check(self) -> None:
        """Raises where the file is missing or malformed; for the start of the service."""
        self._load(self._stamp())

    def _current(self) -> Mapping[bytes, Caller]:
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._load(stamp)
        except (OSError, KeyFileError):
            # Unreadable in the middle of an edit: a wrong guess here would let a revoked key in.
            self._seen, self._callers = None, {}
        return self._callers

    def _stamp(self) -> tuple[int, int, int]:
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self, stamp: tuple[int, int, int]) -> None:
        self._callers = parse_keys(self.path.read_text(encoding="utf-8"))
        self._seen = stamp


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway has checked the key. Without a secret, only it may be able to reach this service.

    With the gateway's own key file at hand, a revoked key counts at once here too, also on sockets
    that are open already.
    """

    keys: KeyFile | None = None
    secret: str = field(default="", repr=False)

    def sent(self, headers: Mapping[str, str]) -> bool:
        """Whether it was the gateway that sent a request with these."""
        presented = headers.get(GATEWAY_HEADER, "")
        return not self.secret or hmac.compare_digest(_digest(presented), _digest(self.secret))

    def identify(self, headers: Mapping[str, str]) -> Caller | None:
        if not self.sent(headers):
            return None
        caller = parse_caller(headers.get(CALLER_HEADER, ""))
        if caller is None or (self.keys is not None and not self.keys.knows(caller)):
            return None
        return caller

    def known(self) -> Sequence[Caller] | None:
        return None if self.keys is None else self.keys.known()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
