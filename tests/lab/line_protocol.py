"""Reads InfluxDB's line protocol strictly, and takes nothing that is not of its documented form."""

import re
from dataclasses import dataclass

_NAME = r"(?:[^\s,=\\]|\\[,= ]|\\(?![,= \n]))+"
_STRING = r'"(?:[^"\\\n]|\\["\\])*"'
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?i?"
_FIELD = rf"{_NAME}=(?:{_STRING}|{_NUMBER}|true|false)"
_LINE = re.compile(
    rf"(?P<measurement>{_NAME})(?P<tags>(?:,{_NAME}={_NAME})*)"
    rf" (?P<fields>{_FIELD}(?:,{_FIELD})*) (?P<at>-?\d+)"
)
_PAIR = re.compile(rf"({_NAME})=({_STRING}|{_NAME})")


@dataclass(frozen=True)
class Point:
    """Strings without quotes and escapes; numbers as floats."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | str]
    at: int


def parse(body: str) -> list[Point]:
    """ValueError at the first line that is wrong."""
    return [_point(line) for line in body.split("\n") if line]


def _point(line: str) -> Point:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"not line protocol: {line!r}")
    tags = {key: _plain(value) for key, value in _PAIR.findall(found["tags"])}
    fields = {key: _value(value) for key, value in _PAIR.findall(found["fields"])}
    return Point(_plain(found["measurement"]), tags, fields, int(found["at"]))


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def _value(text: str) -> float | str:
    return re.sub(r'\\(["\\])', r"\1", text[1:-1]) if text.startswith('"') else float(text)
