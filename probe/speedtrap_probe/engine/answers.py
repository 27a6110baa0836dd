"""What came back: is it what was asked for? A wrong answer with 200 is not a slow line."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import Any, NoReturn
from urllib.parse import urlsplit

from speedtrap_probe.engine import limits
from speedtrap_probe.engine.connection import proxy
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

TOO_MANY_REQUESTS = 429
LIMITING = frozenset({403, TOO_MANY_REQUESTS, 503})  # how public servers say "not now" or "not you"
LIMITING_LISTS = frozenset({TOO_MANY_REQUESTS, 503})  # a document's 403 is about what was asked
SMALL_ANSWER_BYTES = 1 << 16  # to a ping or an upload
# LibreSpeed's servers send 4 MiB where they overlook how much was asked for; pages are far smaller.
SHORT_SHARE = 1 / 50
SHORT_BYTES = 1 << 20
PAGE = re.compile(rb"\s*<[!?a-zA-Z]")  # of HTML and XML, and of a program that was not run
LOOKED_AT_BYTES = 512
LAST_LETTER = 3  # bytes that a cut may leave of a letter
# No one's payload: pages, error documents, programs that were not run.
DOCUMENTS = ("text/", "multipart/", "application/json", "application/xml", "application/xhtml")
PROGRAMS = ("javascript", "php", "+json", "+xml")


@dataclass(frozen=True, slots=True)
class Payload:
    """What a download is expected to be. Without `asked_bytes` its size is the server's choice.

    `plain_text`: some file servers call what they do not know so.
    """

    asked_bytes: int | None = None
    plain_text: bool = False

    @property
    def least_bytes(self) -> float:
        return SHORT_BYTES if self.asked_bytes is None else self.asked_bytes * SHORT_SHARE

    def check_kind(self, target: Target, headers: Message, beginning: bytes) -> None:
        """Raises ToolError when the server sends a document, by its name and by its looks.

        By its looks too, for servers call data `text/html` that they know no better name for.
        """
        told = headers.get_content_type() if headers.get("Content-Type") else ""
        named = told.startswith(DOCUMENTS) or told.endswith(PROGRAMS)
        if self.plain_text and told == "text/plain":
            named = False
        if (named or PAGE.match(beginning)) and _is_text(beginning):
            _wrong(target, f"sent {told or 'a page'} instead of data to measure with")

    def check_size(self, target: Target, size: int) -> None:
        """Raises ToolError when a whole answer is far shorter than what was asked for."""
        if not size:
            _wrong(target, "sent an empty file")
        if size < self.least_bytes:
            asked = f" instead of {self.asked_bytes:,}" if self.asked_bytes else ""
            _wrong(target, f"sent {size:,} bytes{asked}: too few to measure with")


ANY_PAYLOAD = Payload()


def _is_text(beginning: bytes) -> bool:
    """No data that is worth measuring with: a few hundred random bytes never are."""
    text = beginning.decode("utf-8", errors="ignore")
    lost = len(beginning) - len(text.encode())
    return lost <= LAST_LETTER and all(letter.isprintable() or letter.isspace() for letter in text)


def check_free(target: Target) -> None:
    """Raises ToolError while a server's own `Retry-After` runs."""
    if left_s := limits.KEPT.wait_s(target.origin):
        again = limits.again_at(left_s, datetime.now(UTC))
        raise ToolError(FailureKind.RATE_LIMITED, f"{target.host} limits requests, {again}")


def check_status(target: Target, status: int, headers: Message, *, document: bool = False) -> None:
    """Raises unless the answer is a good one."""
    if 200 <= status < 300:
        return
    if status == proxy.WHO_ARE_YOU:
        raise proxy.unknown_to_it()
    limiting = LIMITING_LISTS if document else LIMITING
    if status == TOO_MANY_REQUESTS or (target.public and status in limiting):
        raise _limited(target, status, headers)
    message = f"{target.host} answered HTTP {status} for {urlsplit(target.url).path or '/'}"
    raise ToolError(FailureKind.TOOL_FAILED, message)


def check_small(target: Target, size: int, beginning: bytes) -> None:
    """Of the answer to a ping or an upload: nothing, or a few words, but no page."""
    if size > SMALL_ANSWER_BYTES:
        _wrong(target, f"answered a small request with more than {SMALL_ANSWER_BYTES:,} bytes")
    if PAGE.match(beginning):
        _wrong(target, "answered a small request with a page")


def read_json(document: bytes, whose: str) -> Any:
    """Of a service that may answer anything; raises ToolError."""
    try:
        return json.loads(document)
    except UnicodeDecodeError:
        return read_json(document.decode("latin-1").encode(), whose)
    except (ValueError, RecursionError) as error:
        raise ToolError(FailureKind.TOOL_FAILED, f"{whose} is no JSON") from error


def _limited(target: Target, status: int, headers: Message) -> ToolError:
    now, message = datetime.now(UTC), f"{target.host} limits requests (HTTP {status})"
    if wait_s := limits.retry_after_s(headers, now):
        limits.KEPT.keep(target.origin, wait_s)
        message = f"{message}, {limits.again_at(wait_s, now)}"
    return ToolError(FailureKind.RATE_LIMITED, message)


def _wrong(target: Target, what: str) -> NoReturn:
    raise ToolError(FailureKind.TOOL_FAILED, f"{target.host} {what}")
