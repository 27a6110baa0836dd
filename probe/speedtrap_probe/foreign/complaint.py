"""What a program says when it fails: on either stream, in JSON, in log lines or in plain words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures

READ_BYTES = 1 << 19  # of each stream, the last ones
MOST_DOCUMENTS = 2_000
REASON_LIMIT = 400  # characters: the tool's name and the cause fit beside it

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# What C's printf makes of a number that JSON cannot say, and of "e+08" on its way through a shell.
NO_NUMBER = re.compile(r"(:\s*)[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
EXPONENT = re.compile(r"(:\s*-?\d+(?:\.\d+)?e) (?=\d)", re.IGNORECASE)
LOGGED = re.compile(r"\[(?:error|critical|fatal)\]\s*(.+)", re.IGNORECASE)
RULE = re.compile(r"={10,}")  # above and below a licence
ACCEPTED = re.compile(r"licen[cs]e acceptance recorded", re.IGNORECASE)
REST_OF_JSON = re.compile(r"[{}]|\[\s*\{|\"[\w ]+\"\s*:|(?:null|true|false)$")
PAGE = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)

LIMITED = re.compile(
    r"limit reached|too many requests|server is busy|try again later|rate.?limit"
    r"|\b(?:error|status|http)[ :]+(?:code[ :]+)?(?:403|429|503)\b"
)
NO_NETWORK = re.compile(
    r"not known|name resolution|nodename nor servname|no such host|resolve host|could not resolve"
    r"|unable to resolve|getaddrinfo|server misbehaving|no address associated|unreachable|no route"
    r"|refused|network is down|cannot open socket|unable to connect to server\b|internet error"
)
TIMED_OUT = re.compile(r"timed out|(?<!-)\btime-?out|deadline exceeded")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stream, taken apart: its JSON objects, and its lines that are none and no licence."""

    documents: Sequence[Mapping[str, Any]]
    lines: Sequence[str]


def kind_of(said: str) -> FailureKind:
    """By the words that programs use for it."""
    lower = said.lower()
    if LIMITED.search(lower):
        return FailureKind.RATE_LIMITED
    if NO_NETWORK.search(lower):
        return FailureKind.NO_NETWORK
    return FailureKind.TIMEOUT if TIMED_OUT.search(lower) else FailureKind.TOOL_FAILED


def spoken(stream: bytes) -> Spoken:
    """JSON objects wherever they stand, one a line or over many, also in a list."""
    text = EXPONENT.sub(r"\1+", NO_NUMBER.sub(r"\1null", _text(stream)))
    documents: list[Mapping[str, Any]] = []
    lines: list[str] = []
    for part in _parts(text):
        if isinstance(part, str):
            lines.append(part)
        else:
            documents += part
    return Spoken(documents, list(_without_licence(lines)))


def failed(
    name: str,
    exit_code: int,
    stdout: bytes,
    stderr: bytes,
    *,
    kind: FailureKind | None = None,
    figures: Figures | None = None,
    nothing: str = "printed nothing",
) -> ToolError:
    """The failure of a program, in its own most telling words. *kind*, if its exit code told."""
    reason = telling(stdout, stderr)
    if not reason:
        silent = not (stdout.strip() or stderr.strip())
        size = len(stdout) + len(stderr)
        reason = nothing if silent else f"printed no result in {size:,} bytes"
        reason = f"{reason} (exit code {exit_code})"
    return ToolError(kind or kind_of(reason), f"{name}: {reason}", figures)


def telling(stdout: bytes, stderr: bytes) -> str:
    """The cause comes first and what followed from it later; plain words count by their end."""
    streams = [spoken(stderr), spoken(stdout)]
    told = [message for one in streams for message in _messages(one)]
    plain = [_joined(one.lines) for one in streams]
    known = [one for one in (*told, *plain) if kind_of(one) is not FailureKind.TOOL_FAILED]
    said = next((one for one in (*known, *told, *plain) if one), "")
    return said if len(said) <= REASON_LIMIT else "…" + said[1 - REASON_LIMIT :]


def _text(stream: bytes) -> str:
    cut = stream[-READ_BYTES:]
    encoding = "utf-16" if cut[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return ESCAPES.sub("", cut.decode(encoding, errors="replace"))


def _parts(text: str) -> Iterator[str | list[Mapping[str, Any]]]:
    """Lines, and the objects of each JSON value that begins a line."""
    at, left = 0, MOST_DOCUMENTS
    decoder = json.JSONDecoder()
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end].strip()
        if line[:1] in ("{", "[") and left > 0:
            left -= 1
            try:
                value, stop = decoder.raw_decode(text, at + text[at:end].index(line[0]))
            except (ValueError, RecursionError):
                pass
            else:
                objects: list[Mapping[str, Any]] = [
                    one for one in _flat(value) if isinstance(one, dict)
                ]
                if objects:
                    yield objects
                    at = stop
                    continue
        if line:
            yield line
        at = end + 1


def _line_end(text: str, at: int) -> int:
    ends = [place for mark in "\r\n" if (place := text.find(mark, at)) >= 0]
    return min(ends, default=len(text))


def _flat(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _without_licence(lines: Sequence[str]) -> Iterator[str]:
    rules = [place for place, line in enumerate(lines) if RULE.fullmatch(line)]
    inside = {
        place
        for first, last in zip(rules[::2], rules[1::2], strict=False)
        for place in range(first, last + 1)
    }
    for place, line in enumerate(lines):
        if place not in inside and not ACCEPTED.search(line):
            yield line


def _messages(said: Spoken) -> Iterator[str]:
    for document in said.documents:
        error = document.get("error")
        if document.get("level") in {"error", "critical", "fatal"}:
            error = error or document.get("message")
        if isinstance(error, dict):
            error = error.get("message")
        if isinstance(error, str) and error.strip():
            yield error.strip()
    for line in said.lines:
        if match := LOGGED.search(line):
            yield match[1].strip()


def _joined(lines: Sequence[str]) -> str:
    """Of a document that was cut off nothing is quoted: it is full of addresses."""
    quoted = " ".join(line for line in lines if not _is_rest_of_json(line))
    return "" if PAGE.search(quoted) else quoted


def _is_rest_of_json(line: str) -> bool:
    return REST_OF_JSON.match(line) is not None
