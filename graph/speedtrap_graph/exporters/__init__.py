"""Ways out for runs, one file each. A file has a value `EXPORTER`, and the folder is scanned."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Generic, TypeVar

import httpx
from pydantic_settings import BaseSettings

from speedtrap_graph.http.bounded import bounded
from speedtrap_graph.services.upkeep.pump import Exporter, NotTakenError

S = TypeVar("S", bound=BaseSettings)

MOST_READ_BYTES = 65_536
MOST_HEAD_BYTES = 131_072
_LONGEST_REASON = 300


@dataclass(frozen=True)
class ExporterKind(Generic[S]):
    """`make` gives None where the settings ask for none."""

    name: str
    settings: type[S]
    make: Callable[[S], Exporter | None]


def secret_in(file: Path, setting: str) -> str:
    """What the file of *setting* says now. It may be away for as long as somebody changes it."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NotTakenError(f"{setting} cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class Answer:
    """What a receiver answered, as far as it was read."""

    status: int
    media_type: str
    body: str

    @property
    def is_page(self) -> bool:
        """A login or an error for people, whatever its status: no receiver of runs says so."""
        start = self.body.lstrip()[:20].lower()
        return "html" in self.media_type and start.startswith(("<!doctype", "<html"))

    def words(self, secrets: Sequence[str] = ()) -> str:
        """The status with the reason given, on one line, with none of *secrets* in it."""
        reason = "an HTML page" if self.is_page else _reason_in(self.body)
        for secret in filter(None, secrets):
            reason = reason.replace(secret, "(secret)")
        line = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
        cut = line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
        return f"it answered {self.status}" + (f" ({cut})" if cut else "")


def _reason_in(body: str) -> str:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body[:4096]
    found = (said.get("message") or said.get("error")) if isinstance(said, dict) else None
    return found if isinstance(found, str) else body[:4096]


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the authorities holds everything up, and each new attempt would do it."""
    return httpx.create_ssl_context()


@contextlib.asynccontextmanager
async def posting(
    timeout_s: float, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client for `post`: it follows nothing, and reads no more than an answer may have."""
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(timeout_s), headers=headers, follow_redirects=False, verify=_tls()
    )
    async with bounded(client, MOST_HEAD_BYTES + MOST_READ_BYTES):
        yield client


async def post(
    client: httpx.AsyncClient,
    url: str,
    content: bytes,
    timeout_s: float,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The receiver's answer, in twice *timeout_s* at most; NotTakenError where there is none.

    It is asked for as it is. What comes compressed all the same is not read: of a few kilobytes it
    makes as many megabytes as it likes.
    """
    body = bytearray()
    headers = {**(headers or {}), "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(2 * timeout_s),
            client.stream("POST", url, content=content, params=params, headers=headers) as answer,
        ):
            is_plain = answer.headers.get("content-encoding", "identity") == "identity"
            async for part in answer.aiter_raw():
                body += part if is_plain else b""
                if not is_plain or len(body) >= MOST_READ_BYTES:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise NotTakenError(f"no answer ({type(error).__name__})") from None
    text = bytes(body[:MOST_READ_BYTES]).decode(errors="replace")
    return Answer(answer.status_code, answer.headers.get("content-type", ""), text)


def kinds() -> Mapping[str, ExporterKind[BaseSettings]]:
    """Every exporter in the folder, by name."""
    found: dict[str, ExporterKind[BaseSettings]] = {}
    for module in iter_modules(__path__, __name__ + "."):
        kind: ExporterKind[BaseSettings] = import_module(module.name).EXPORTER
        found[kind.name] = kind
    return found


def configured() -> list[Exporter]:
    """Those that the environment asks for; ValidationError where it does so badly."""
    made = [kind.make(kind.settings()) for kind in kinds().values()]
    return [exporter for exporter in made if exporter is not None]
