"""What the service says of itself: a line for people, or one JSON object a line for programs."""

import logging
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Annotated[Literal["text", "json"], BeforeValidator(str.lower)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OWN = "speedtrap_graph"
CHATTY = ("httpx", "httpcore", "pymongo")
"""A line for every request, with its address, or for every wait, which we tell in our own words."""
_SERVERS = ("uvicorn.error", "asyncio", "websockets.server", "strawberry.ws.task")
_EVERY_S = 60.0
_KINDS_KEPT = 100
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")


def shown(text: str) -> str:
    """*text* with controls and lone surrogates as escapes: what others said ends no line."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class OneLine(logging.Formatter):
    """For people: a message is one line, and only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return shown(super().formatMessage(record))


class JsonLines(JsonFormatter):
    """`time` (RFC 3339 in UTC), `level`, `logger`, `message`, then what the record carries beside
    them. A traceback is one string, `error`: no record is longer than a line.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "error"}
        super().__init__(
            ["asctime", "levelname", "name", "message"],
            rename_fields=names,
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, for terminals
        )

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Readers of JSON refuse the escape of a lone surrogate."""
        line = super().jsonify_log_record(log_data)
        return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], line)


class Counted(logging.Filter):
    """What the HTTP server says of requests that break its rules is up to whoever sends them: one
    line of a kind in a while, and with the next one how many there were.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name not in _SERVERS or record.levelno < logging.WARNING:
            return True
        kind = (record.name, str(record.msg).partition("\n")[0])
        since, left_out = self._seen.pop(kind, (-_EVERY_S, 0))
        if self._now() - since < _EVERY_S:
            self._seen[kind] = (since, left_out + 1)
            return False
        self._seen[kind] = (self._now(), 0)
        if len(self._seen) > _KINDS_KEPT:
            del self._seen[next(iter(self._seen))]
        _shorten(record, left_out)
        return True


def _shorten(record: logging.LogRecord, left_out: int) -> None:
    """The first line of its message, and of a traceback where it ends. Only what our own code
    raised is told at length: a stranger has no part in that.
    """
    words = record.getMessage().partition("\n")[0]
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not words.startswith("Exception in ASGI application"):
        words += f" ({type(error).__name__})"
        record.exc_info = record.exc_text = None
    if left_out:
        words += f" (and {left_out} more like it since it was last said)"
    record.msg, record.args = words, ()


def set_up(form: str, level: str) -> None:
    """For this whole process. The level is that of our own words: what libraries say at DEBUG has
    headers in it, and with them keys.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else OneLine(TEXT))
    handler.addFilter(Counted())
    logging.basicConfig(level=max(logging.INFO, _number(level)), handlers=[handler])
    logging.getLogger(OWN).setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, _number(level)))
    if form == "json":
        logging.captureWarnings(capture=True)
        sys.excepthook = _say_the_end


def in_json() -> bool:
    """Whether this process was set up so."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _say_the_end(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger(OWN).critical("ended by %s", kind.__name__, exc_info=(kind, error, trace))
