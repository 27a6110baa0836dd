"""The words: complete, none left over, and numbers as people write them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from speedtrap_web.catalogue import EN

PACKAGE = Path(__file__).parents[2] / "web/speedtrap_web"
SOURCES = [
    file
    for pattern in ("*.py", "views/*.py", "templates/*.html", "templates/*.xml", "static/*.js")
    for file in PACKAGE.glob(pattern)
    if file.name != "catalogue.py"
]
TEXT = "".join(file.read_text(encoding="utf-8") for file in SOURCES) + (
    PACKAGE / "catalogue.py"
).read_text(encoding="utf-8")
KEY = r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)+"


def prefixes() -> set[str]:
    """Beginnings of keys that are completed with a value: `f"range.{name}"`, `"stage." ~ stage`."""
    written = re.findall(r'f"([a-z_.0-9]+\.)\{', TEXT)
    joined = re.findall(r'"([a-z_.0-9]+\.)" ~', TEXT)
    scripted = re.findall(r"`([a-z_.0-9]+\.)\$\{", TEXT)
    return {*written, *joined, *scripted}


def test_every_word_is_used() -> None:
    literal = set(re.findall(rf"""["']({KEY})["']""", TEXT))
    started = prefixes()
    unused = [
        key
        for key in EN.words
        if key not in literal
        and re.sub(r"\.(one|other)$", "", key) not in literal
        and not any(key.startswith(prefix) for prefix in started)
    ]
    assert unused == []


def test_every_word_that_a_template_asks_for_exists() -> None:
    templates = "".join(
        file.read_text(encoding="utf-8") for file in PACKAGE.glob("templates/*.html")
    )
    asked = set(re.findall(rf'\bt\("({KEY})"', templates))
    assert asked
    assert asked - set(EN.words) == set()


@pytest.mark.parametrize(
    ("mbps", "written"),
    [
        (None, "\N{EN DASH}"),
        (0.456, "0.46"),
        (12.34, "12.3"),
        (934.6, "935"),
        (2345.6, "2,346"),
    ],
)
def test_a_throughput_has_three_figures(mbps: float | None, written: str) -> None:
    assert EN.mbps(mbps) == written


def test_a_negative_number_has_a_real_minus_and_zero_has_none() -> None:
    assert EN.percent(-0.44) == "\N{MINUS SIGN}44\N{NARROW NO-BREAK SPACE}%"
    assert EN.percent(-0.001) == "0\N{NARROW NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=26), "26 hours ago"),
        (timedelta(days=3), "3 days ago"),
    ],
)
def test_a_while_ago_is_said_in_words(span: timedelta, written: str) -> None:
    assert EN.ago(span) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(10, "1 min"), (45 * 60, "45 min"), (7200, "2 h"), (5400, "1 h 30 min"), (190_000, "2 d 4 h")],
)
def test_a_duration_is_said_in_its_largest_units(seconds: float, written: str) -> None:
    assert EN.duration(seconds) == written


def test_a_moment_is_written_on_the_given_clock() -> None:
    moment = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)
    assert EN.when(moment, ZoneInfo("America/Denver")) == "Mon 23 Nov, 22:30"
