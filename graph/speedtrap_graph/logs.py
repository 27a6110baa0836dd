"""What the service says of itself: a line for people, or one JSON object a line for programs."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Any, Literal, TextIO

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


MOST_ALIKE = 10
"""Records from one place in the code that are written in a minute; the others are counted."""
_WINDOW_S = 60.0
Place = tuple[str, int, str, int, str]


@dataclass
class Repeats:
    """Which records are written, so that nobody can fill a disk by what makes us write a line."""

    now: Callable[[], float] = time.monotonic
    _windows: dict[Place, tuple[float, int, str]] = field(default_factory=dict)

    def may_pass(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        # Not by its text, which others may choose: by where it comes from.
        place = (record.name, record.levelno, record.pathname, record.lineno, str(kind))
        begun, count, message = self._windows.get(place, (self.now(), 0, record.getMessage()))
        self._windows[place] = (begun, count + 1, message)
        return count < MOST_ALIKE

    def ended(self, *, at_once: bool = False) -> Iterator[logging.LogRecord]:
        """How many were not written, of each place whose minute is over."""
        before = self.now() - _WINDOW_S
        for place, (begun, count, message) in list(self._windows.items()):
            if not at_once and begun > before:
                continue
            del self._windows[place]
            if count > MOST_ALIKE:
                name, level, path, line, _ = place
                words, more = "%d more within a minute like: %s", count - MOST_ALIKE
                yield logging.LogRecord(name, level, path, line, words, (more, message[:200]), None)


class SparingHandler(logging.StreamHandler[TextIO]):
    """Writes what `Repeats` lets pass, and the counts of the rest."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        for count in self._repeats.ended():
            super().emit(count)
        if self._repeats.may_pass(record):
            super().emit(record)

    def close(self) -> None:
        for count in self._repeats.ended(at_once=True):
            super().emit(count)
        super().close()


class Brief(logging.Filter):
    """What the HTTP server says of requests that break its rules is one line without a traceback:
    whoever sends them decides how often. Only what our own code raised is told at length.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in _SERVERS and record.levelno >= logging.WARNING:
            words = record.getMessage().partition("\n")[0]
            error = record.exc_info[1] if record.exc_info else None
            if error is not None and not words.startswith("Exception in ASGI application"):
                words += f" ({type(error).__name__})"
                record.exc_info = record.exc_text = None
            record.msg, record.args = words, ()
        return True


def set_up(form: str, level: str) -> None:
    """For this whole process. The level is that of our own words: what libraries say at DEBUG has
    headers in it, and with them keys.
    """
    handler = SparingHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else OneLine(TEXT))
    handler.addFilter(Brief())
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
