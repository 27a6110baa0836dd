"""How a language says what the page says: its words, its numbers, its times.

The words are in `languages`. A key with `.one` and `.other` is chosen by `n`. The names of days,
months and time zones and the marks in numbers are those of the Unicode CLDR, by Babel.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any

from babel import Locale
from babel.dates import format_skeleton, get_day_names, get_month_names, get_timezone_name
from babel.units import format_unit

from speedtrap_web.languages.english import ENGLISH
from speedtrap_web.languages.spanish import SPANISH

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_UNITS = (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE))


@dataclass(frozen=True)
class Catalogue:
    """One language."""

    language: str
    words: Mapping[str, str]
    group_from: int = 4
    """The number of digits from which on thousands are set apart; Spanish leaves 1234 alone."""

    @cached_property
    def locale(self) -> Locale:
        return Locale(self.language)

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """The marks of numbers: `group` and `decimal`."""
        symbols: Mapping[str, str] = self.locale.number_symbols["latn"]
        return symbols

    @cached_property
    def weekdays(self) -> tuple[str, ...]:
        """Short, Monday first."""
        names = get_day_names("abbreviated", locale=self.locale)
        return tuple(names[day] for day in range(7))

    @cached_property
    def months(self) -> tuple[str, ...]:
        """Short, January first."""
        names = get_month_names("abbreviated", locale=self.locale)
        return tuple(names[month] for month in range(1, 13))

    def month(self, first: date) -> str:
        """A month and its year, written out."""
        return str(format_skeleton("yMMMM", first, locale=self.locale))

    def zone_name(self, zone: tzinfo) -> str:
        """As in "Mountain Time (America/Denver)"; UTC is called that everywhere."""
        if str(zone) == "UTC":
            return "UTC"
        return f"{get_timezone_name(zone, locale=self.locale)} ({zone})"

    def text(self, key: str, **values: object) -> str:
        return self.words[key].format(space=NARROW_SPACE, **values)

    def plural(self, key: str, n: int, **values: object) -> str:
        form = "one" if n == 1 else "other"
        return self.text(f"{key}.{form}", n=self.number(n), **values)

    def number(self, value: float, digits: int = 0) -> str:
        """With thousands marks and a real minus sign."""
        written = f"{abs(value):.{digits}f}"
        whole, _, part = written.partition(".")
        if len(whole) >= self.group_from:
            whole = f"{int(whole):,}".replace(",", self.marks["group"])
        shown = whole + (self.marks["decimal"] + part if part else "")
        return f"{MINUS}{shown}" if value < 0 and written.strip("0.") else shown

    def mbps(self, value: float | None) -> str:
        """Three figures are all that a throughput deserves."""
        if value is None:
            return self.words["tile.none"]
        return self.number(value, 0 if value >= 100 else 1 if value >= 10 else 2)

    def plain(self, value: float) -> str:
        """A figure that someone typed: no more digits than they gave."""
        return self.number(value, 0 if value == int(value) else 1)

    def percent(self, ratio: float | None, digits: int = 0) -> str:
        if ratio is None:
            return self.words["tile.none"]
        return f"{self.number(ratio * 100, digits)}{NARROW_SPACE}%"

    def when(self, moment: datetime, zone: tzinfo, *, year: bool = False) -> str:
        local = moment.astimezone(zone)
        day = self.day(moment, zone)
        return f"{day} {local.year}, {self.clock(local)}" if year else f"{day}, {self.clock(local)}"

    def clock(self, local: datetime) -> str:
        """The time of day; with the zone's abbreviation where the clock shows it twice."""
        again = local.replace(fold=1 - local.fold)
        ambiguous = local.utcoffset() != again.utcoffset()
        return f"{local:%H:%M %Z}" if ambiguous else f"{local:%H:%M}"

    def day(self, moment: datetime, zone: tzinfo) -> str:
        weekday = self.weekdays[moment.astimezone(zone).weekday()]
        return f"{weekday} {self.date(moment, zone)}"

    def date(self, moment: datetime, zone: tzinfo) -> str:
        local = moment.astimezone(zone)
        return f"{local.day} {self.months[local.month - 1]}"

    def ago(self, span: timedelta) -> str:
        minutes = int(span.total_seconds() // 60)
        if minutes < 1:
            return self.words["time.now"]
        if minutes < 60:
            return self.plural("time.minutes", minutes)
        if minutes < 48 * 60:
            return self.plural("time.hours", minutes // 60)
        return self.plural("time.days", minutes // (24 * 60))

    def lasted(self, span: timedelta) -> str:
        """As in "for 26 hours"; *span* is whole steps. The page's script says it likewise."""
        step = self.step(span)
        unit, size = next((unit, size) for unit, size in _UNITS if size <= step)
        return format_unit(span // size, f"duration-{unit}", "long", locale=self.locale)

    @staticmethod
    def step(span: timedelta) -> timedelta:
        """As fine as a reader needs to know so long a time."""
        return 10 * _MINUTE if span < _HOUR else _HOUR if span < 2 * _DAY else _DAY

    def whole(self, span: timedelta) -> timedelta:
        step = self.step(span)
        return max(1, span // step) * step

    def duration(self, seconds: float) -> str:
        minutes = max(1, round(seconds / 60))
        if minutes < 60:
            return self.text("time.duration.minutes", minutes=minutes)
        hours, minutes = divmod(minutes, 60)
        if hours < 48 and minutes == 0:
            return self.text("time.duration.full_hours", hours=hours)
        if hours < 48:
            return self.text("time.duration.hours", hours=hours, minutes=minutes)
        return self.text("time.duration.days", days=hours // 24, hours=hours % 24)

    @cached_property
    def chart_words(self) -> Mapping[str, Any]:
        """What the page's script needs."""
        return {
            **{key: words for key, words in self.words.items() if key.startswith("chart.")},
            "weekdays": self.weekdays,
            "months": self.months,
            "group": self.marks["group"],
            "groupFrom": self.group_from,
            "decimal": self.marks["decimal"],
        }


EN = Catalogue("en", ENGLISH)
ES = Catalogue("es", SPANISH, group_from=5)
CATALOGUES: Mapping[str, Catalogue] = {found.language: found for found in (EN, ES)}
"""By language; the first is the usual one."""

_WISH = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01](?:\.\d{1,3})?)\s*)?")


def preferred(chosen: str | None, accept_language: str) -> Catalogue:
    """The language that a reader chose, else the one that the browser likes best."""
    if chosen is not None and chosen in CATALOGUES:
        return CATALOGUES[chosen]
    wishes = []
    for place, part in enumerate(accept_language.split(",")[:20]):
        wish = _WISH.fullmatch(part)
        if wish is not None and wish[1].lower() in CATALOGUES:
            wishes.append((-float(wish[2] or 1), place, wish[1].lower()))
    liked = [language for quality, _, language in sorted(wishes) if quality < 0]
    return CATALOGUES[liked[0]] if liked else EN
