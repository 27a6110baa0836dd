"""The words: complete, none left over, and numbers as people write them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from speedtrap_web.text.catalogue import CATALOGUES, EN, ES, Catalogue, preferred
from speedtrap_web.views.drawings.chart import twice_shown

PACKAGE = Path(__file__).parents[2] / "web/speedtrap_web"
SOURCES = [
    file
    for pattern in ("**/*.py", "templates/*.html", "templates/*.xml", "static/*.js")
    for file in PACKAGE.glob(pattern)
    if file.name != "catalogue.py" and file.parent.name != "languages"
]
TEXT = "".join(file.read_text(encoding="utf-8") for file in SOURCES) + (
    PACKAGE / "text/catalogue.py"
).read_text(encoding="utf-8")
KEY = r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)+"


def prefixes() -> set[str]:
    """Beginnings of keys that are completed with a value: `f"range.{name}"`, `"stage." ~ stage`,
    and those that are handed on, `said("judged.", text)`.
    """
    written = re.findall(r'f"([a-z_.0-9]+\.)\{', TEXT)
    joined = re.findall(r'"([a-z_.0-9]+\.)" ~', TEXT)
    scripted = re.findall(r"`([a-z_.0-9]+\.)\$\{", TEXT)
    handed = re.findall(r'said\("([a-z_]+\.)", ', TEXT)
    return {*written, *joined, *scripted, *handed}


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


def test_every_language_says_all_that_english_says() -> None:
    assert {code: set(found.words) ^ set(EN.words) for code, found in CATALOGUES.items()} == {
        "en": set(),
        "es": set(),
    }


def test_a_translation_has_the_same_places_to_fill() -> None:
    assert [key for key in EN.words if places(ES, key) != places(EN, key)] == []


def places(catalogue: Catalogue, key: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(catalogue.words[key]) if name}


def test_spanish_is_not_english() -> None:
    """Words of one letter, names and units are alike in both; sentences are not."""
    alike = [key for key in EN.words if " " in EN.words[key] and EN.words[key] == ES.words[key]]
    written = [re.sub(r"\{\w+\}", "", EN.words[key]) for key in alike]
    assert [words for words in written if re.search(r"[a-z]{4}", words)] == []


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (1234, 0, "1234"),
        (12345.6, 1, "12.345,6"),
        (-5, 1, "\N{MINUS SIGN}5,0"),
        (-0.01, 1, "0,0"),
    ],
)
def test_spanish_numbers_have_their_own_marks(value: float, digits: int, written: str) -> None:
    assert ES.number(value, digits) == written


def test_days_months_and_zones_have_their_names_in_each_language() -> None:
    moment, zone = datetime(2026, 8, 3, 17, 5, tzinfo=UTC), ZoneInfo("America/Denver")
    assert EN.when(moment, zone, year=True) == "Mon 3 Aug 2026, 11:05"
    assert ES.when(moment, zone, year=True) == "lun 3 ago 2026, 11:05"
    assert EN.month(moment.date()) == "August 2026"
    assert ES.month(moment.date()) == "agosto de 2026"
    assert EN.zone_name(zone) == "Mountain Time (America/Denver)"
    assert ES.zone_name(zone) == "hora de las Montañas Rocosas (America/Denver)"


@pytest.mark.parametrize(
    ("cookie", "header", "language"),
    [
        (None, "", "en"),
        (None, "es-MX,es;q=0.9,en;q=0.8", "es"),
        (None, "de,en;q=0.5,es;q=0.7", "es"),
        (None, "fr", "en"),
        ("en", "es", "en"),
        ("es", "en", "es"),
        ("klingon", "es", "es"),
        (None, "es;q=0,*;q=1", "en"),
        (None, ";;;,=q", "en"),
    ],
)
def test_a_reader_gets_the_language_chosen_or_liked_best(
    cookie: str | None, header: str, language: str
) -> None:
    assert preferred(cookie, header).language == language


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


TWICE = [
    ("Europe/Madrid", "2026-10-25T00:30:00+00:00", "02:30 CEST", "02:30 CET"),
    ("America/Denver", "2026-11-01T07:30:00+00:00", "01:30 MDT", "01:30 MST"),
    ("Australia/Lord_Howe", "2026-04-04T14:45:00+00:00", "01:45 +11", "01:45 +1030"),
]


@pytest.mark.parametrize(("zone", "first", "before", "after"), TWICE)
def test_a_time_that_the_clock_shows_twice_has_the_zones_abbreviation(
    zone: str, first: str, before: str, after: str
) -> None:
    moment, there = datetime.fromisoformat(first), ZoneInfo(zone)
    back = timedelta(minutes=30 if "Lord" in zone else 60)
    for catalogue in (EN, ES):
        for year in (True, False):
            assert catalogue.when(moment, there, year=year).endswith(f", {before}")
            assert catalogue.when(moment + back, there, year=year).endswith(f", {after}")
            told = [catalogue.when(moment + n * back, there, year=year) for n in (-2, 2)]
            assert [text.rpartition(" ")[2].count(":") for text in told] == [1, 1], "no zone there"


@pytest.mark.parametrize(("zone", "first", "before", "after"), TWICE)
def test_the_chart_knows_which_times_are_shown_twice(
    zone: str, first: str, before: str, after: str
) -> None:
    moment, there = datetime.fromisoformat(first), ZoneInfo(zone)
    found = twice_shown(moment - timedelta(days=3), moment + timedelta(days=3), there)
    assert [f" {span.zone}" for span in found] == [before[5:], after[5:]]
    assert found[0].start <= moment.timestamp() < found[0].until == found[1].start
    assert found[1].until - found[1].start == found[0].until - found[0].start
    assert twice_shown(moment + timedelta(days=3), moment + timedelta(days=9), there) == []
