"""What the page says of itself: a line for people, or one JSON object a line for programs."""

import logging
import re
import sys
import time
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LogFormat = Annotated[Literal["text", "json"], BeforeValidator(str.lower)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OWN = "speedtrap_web"
CHATTY = ("httpx", "httpcore")
"""A line for every question to graph."""
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


def set_up(form: str, level: str) -> None:
    """For this whole process. The level is that of our own words: what libraries say at DEBUG has
    headers in it, and with them keys.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else OneLine(TEXT))
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
