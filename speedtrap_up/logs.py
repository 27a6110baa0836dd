"""What `speedtrap up` says: words for people, or one JSON object a line for programs.

Each part has the same choice, so that the one stream that they share stays of one kind.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import typer
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from speedtrap_up.errors import UpError

FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

log = logging.getLogger("speedtrap_up")


class Terminal(Protocol):
    """Where it is all said: on the standard output."""

    def say(self, part: str, line: str) -> None:
        """A line of a part, or with `up` one of our own about a part."""

    def tell(self, words: str, at_length: str = "", **facts: object) -> None:
        """What we have to say ourselves: to people *at_length* if need be, to programs with
        *facts*.
        """

    def fail(self, words: str) -> None:
        """Why it ends."""


class Words:
    """For people."""

    def say(self, part: str, line: str) -> None:
        typer.echo(f"{part:<8}| {line}")

    def tell(self, words: str, at_length: str = "", **facts: object) -> None:
        del facts
        typer.echo(at_length or words)

    def fail(self, words: str) -> None:
        typer.echo(f"speedtrap: {words}", err=True)


class JsonLines(JsonFormatter):
    """`time` (RFC 3339 in UTC), `level`, `logger`, `message`, then what the record carries beside
    them: as the services do it.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "error"}
        super().__init__(
            ["asctime", "levelname", "name", "message"],
            rename_fields=names,
            reserved_attrs=RESERVED_ATTRS,
        )


class Records:
    """For programs. A part's record goes on as it is; whatever else it says is put into one."""

    def __init__(self) -> None:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonLines())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every look at /readyz

    def say(self, part: str, line: str) -> None:
        if part == "up":
            log.warning(line)
        elif _is_a_record(line):
            typer.echo(line)
        elif line.strip():
            log.warning(line, extra={"part": part})

    def tell(self, words: str, at_length: str = "", **facts: object) -> None:
        del at_length
        log.info(words, extra=facts)

    def fail(self, words: str) -> None:
        log.critical(words)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`SPEEDTRAP_LOG_FORMAT` and `SPEEDTRAP_LOG_LEVEL`: for all parts that are not told apart."""

    form: str
    level: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "LogSettings":
        form = environ.get("SPEEDTRAP_LOG_FORMAT", "").lower() or "text"
        level = environ.get("SPEEDTRAP_LOG_LEVEL", "").upper() or "INFO"
        if form not in FORMATS:
            raise UpError(f"SPEEDTRAP_LOG_FORMAT: must be one of {', '.join(FORMATS)}")
        if level not in LEVELS:
            raise UpError(f"SPEEDTRAP_LOG_LEVEL: must be one of {', '.join(LEVELS)}")
        return cls(form, level)

    def terminal(self) -> Terminal:
        return Records() if self.form == "json" else Words()

    def settings(self, service: str) -> dict[str, str]:
        """As *service* (`GRAPH`, …) reads them."""
        return {
            f"SPEEDTRAP_{service}_LOG_FORMAT": self.form,
            f"SPEEDTRAP_{service}_LOG_LEVEL": self.level,
        }


def _is_a_record(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
