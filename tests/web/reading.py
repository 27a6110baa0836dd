"""A served page as its reader sees it, and numbers as a page in English writes them."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import unescape
from zoneinfo import ZoneInfo

NARROW, MINUS, DASH = "\N{NARROW NO-BREAK SPACE}", "\N{MINUS SIGN}", "\N{EN DASH}"
EVENING = f"(19{DASH}23 h)"
UNREAD = re.compile(r"<(svg|script|style|select)\b.*?</\1>", re.DOTALL)
"""Drawn, or there to be chosen from."""


def plain(html: str) -> str:
    text = unescape(re.sub(r"<[^>]+>", " ", UNREAD.sub(" ", html)))
    return " ".join(text.replace(NARROW, " ").split())


def main_of(page: str) -> str:
    """All but the head and the foot."""
    return page.partition("<!--stale-->")[2].partition("</main>")[0]


def section(page: str, title_id: str) -> str:
    found = re.search(rf'aria-labelledby="{title_id}".*?</section>', page, re.DOTALL)
    assert found is not None, title_id
    return found[0]


def rows_of(html: str) -> list[list[str]]:
    """The cells of a table's body."""
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2], re.DOTALL)
    return [
        [plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def tiles_of(page: str) -> list[str]:
    return [plain(tile) for tile in re.findall(r'<li class="tile.*?</li>', page, re.DOTALL)]


def holds_only(html: str, expected: Iterable[str]) -> None:
    """All of *expected*, in this order, and not one digit beside it."""
    text, place = plain(html), 0
    for piece in expected:
        found = text.find(piece, place)
        assert found >= 0, f"{piece!r} is not in {text[place : place + 400]!r}"
        assert not has_digit(text[place:found]), f"before {piece!r}: {text[place:found]!r}"
        place = found + len(piece)
    assert not has_digit(text[place:]), text[place:]


def has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def number(value: float, digits: int = 0) -> str:
    written = f"{abs(value):,.{digits}f}"
    return f"{MINUS}{written}" if value < 0 and written.strip("0.,") else written


def mbps(value: float | None) -> str:
    """Three figures."""
    if value is None:
        return DASH
    return number(value, 0 if value >= 100 else 1 if value >= 10 else 2)


def milliseconds(value: float | None) -> str:
    return DASH if value is None else number(value, 1)


def percent(ratio: float | None, digits: int = 0) -> str:
    return DASH if ratio is None else f"{number(ratio * 100, digits)} %"


def day(moment: datetime, zone: ZoneInfo) -> str:
    """With its year when that is not this one."""
    local = moment.astimezone(zone)
    year = "" if local.year == datetime.now(zone).year else f" {local.year}"
    return f"{local:%a} {local.day} {local:%b}{year}"


def when(moment: datetime, zone: ZoneInfo) -> str:
    """With the zone where an hour before or after it the clock shows the same."""
    local, hour = moment.astimezone(zone), timedelta(hours=1)
    twice = f"{local:%d %H:%M}" in {
        f"{(moment + s).astimezone(zone):%d %H:%M}" for s in (hour, -hour)
    }
    return f"{day(moment, zone)}, {local:%H:%M}{f' {local:%Z}' if twice else ''}"


def days_and_hours(span: timedelta) -> str:
    minutes = round(span / timedelta(minutes=1))
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= 48 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{number(count)} runs"


def row(cells: Sequence[object]) -> str:
    """As `plain` reads a row of a table."""
    return " ".join(str(cell) for cell in cells if str(cell))
