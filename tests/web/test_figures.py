"""Every number on the overview and in a month's report, reckoned once more by another path.

Plain Python over the runs as they were submitted: nothing here asks graph for a figure. Each test
says all that its part of a page should say, and `holds_only` fails on a digit beside it: a number
that nobody reckoned cannot hide.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

import httpx
import pytest

from tests.lab.service import Service
from tests.web.expected import (
    address,
    breach_words,
    cells_of,
    expected_tiles,
    expected_tools,
    expected_verdict,
    first_and_last,
    references,
    words_of_the_range,
)
from tests.web.lines import DOWN, INTERNET, LATENCY, TOOLS, UP, Line, bests, days_of, midnight
from tests.web.reading import (
    day,
    holds_only,
    mbps,
    milliseconds,
    number,
    percent,
    plain,
    row,
    rows_of,
    section,
    tiles_of,
    when,
)
from tests.web.stages import SAME_SITE

MINUTE = timedelta(minutes=1)


def verdict_of(page: str) -> str:
    return page.partition('<section class="verdict')[2].partition("</section>")[0]


@pytest.fixture
def client(measured: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=measured.base_url, headers=SAME_SITE, timeout=90) as client:
        yield client


@pytest.mark.parametrize("probe", ["attic", "porch"])
def test_the_verdict(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    line = lines[probe]
    expected = list(expected_verdict(line, words_of_the_range(line)[1:]))
    if line.breaches and line.breaches[0].ended is None:
        streak = line.breaches[0].runs
        since = when(streak[0].start, line.zone)
        now = [f"Right now: {len(streak)} runs in a row below 50 %", f"since {since}."]
        expected = [*now, *expected]
    holds_only(verdict_of(client.get(address(line)).text), expected)


@pytest.mark.parametrize("span", ["own", "30d", "all"])
@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_the_tiles(client: httpx.Client, lines: dict[str, Line], probe: str, span: str) -> None:
    line = lines[probe]
    if span == "30d" and probe == "attic":
        span = "1y"
    path = address(line) if span == "own" else f"/?probe={probe}&range={span}"
    tiles = tiles_of(client.get(path).text)
    for tile, expected in zip(tiles, expected_tiles(line), strict=True):
        holds_only(tile, expected)


@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_the_map_of_hours(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    line = lines[probe]
    page = client.get(address(line)).text
    assert_map(line, page.partition('<table class="heat heat-wide">')[2].partition("</table>")[0])
    tall = page.partition('<table class="heat heat-tall">')[2].partition("</table>")[0]
    upright = [cells[1:] for cells in rows_of(tall)]
    lying = [cells[1:] for cells in rows_of(page.partition('class="heat heat-wide"')[2])[:7]]
    assert [list(column) for column in zip(*upright, strict=True)] == lying


def assert_map(line: Line, wide: str) -> None:
    """Four hours a cell: the middle of the hours' medians, each as often as it was measured."""
    hours: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in line.runs:
        value = run.ratio if line.plans else run.best()
        if value is not None:
            hours[line.local(run).weekday(), line.local(run).hour].append(value)
    titles = iter(re.findall(r'title="([^"]*)"', wide))
    for weekday, cells in enumerate(rows_of(wide)):
        for column, cell in enumerate(cells[1:]):
            inside = [hours[weekday, column * 4 + hour] for hour in range(4)]
            middles = [median(values) for values in inside for _ in values]
            title = next(titles)
            if not middles:
                assert cell == "no runs"
                continue
            middle = median(middles)
            spoken = percent(middle) if line.plans else mbps(middle)
            assert cell == f"{number(middle * 100) if line.plans else mbps(middle)} {len(middles)}"
            assert plain(title).endswith(f"{spoken}, n = {len(middles)}")


@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_how_often_at_least(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    """Read off a curve of 5 % steps, so within 5 points of the count."""
    line = lines[probe]
    values = bests(line.runs)
    rows = rows_of(section(client.get(address(line)).text, "curve-title"))
    assert len(rows) >= 3
    if line.plans:
        down = line.plans[-1].down
        shares = (1, 0.95, 0.8, 0.5, 0.25)
        labels = [f"{mbps(share * down)} ({percent(share)})" for share in shares]
        assert [row[0] for row in rows] == labels
    for label, share in rows:
        bound = float(label.split()[0].replace(",", ""))
        # The label is rounded; the curve is asked for the figure itself.
        near = [sum(value >= bound + off for value in values) for off in (-0.5, 0.5)]
        reached = [100 * count / len(values) for count in near]
        assert min(reached) - 5 <= float(share.removesuffix(" %")) <= max(reached) + 5


@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_the_last_run(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    line = lines[probe]
    last = line.runs[-1]
    expected = [when(last.start, line.zone)]
    for tool in TOOLS:
        figures = last.figures[tool]
        if figures:
            cells = [mbps(figures[DOWN]), mbps(figures[UP]), milliseconds(figures[LATENCY])]
            expected.append(row(cells))
    holds_only(section(client.get(address(line)).text, "last-title"), expected)


@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_the_tools_side_by_side(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    line = lines[probe]
    part = section(client.get(address(line)).text, "tools-title")
    holds_only(part, [words_of_the_range(line)[1:], *expected_tools(line)])
    bars = [float(width) for width in re.findall(r'bar-fill" width="([\d.]+)%"', part)]
    middles = {tool: median(bests(line.runs, tool=tool)) for tool in INTERNET}
    shares = [middle / max(middles.values()) * 100 for middle in middles.values()]
    assert bars == pytest.approx(shares, abs=0.051)


def test_the_report_of_a_month(
    client: httpx.Client, measured: Service, lines: dict[str, Line]
) -> None:
    """The 25-hour day included."""
    line = lines["attic"]
    first = first_and_last(line)[0].replace(day=1)
    page = client.get(f"/report?probe=attic&month={first:%Y-%m}").text
    plan = line.plans[-1]
    part = verdict_of(page)
    made = re.search(r"made (.*?) ·", plain(part))
    assert made is not None
    month = f"October {first.year}"
    paid = f"{number(plan.down)} Mbps down, {number(plan.up)} Mbps up"
    holds_only(part, [month, *expected_verdict(line, month), paid, made[1]])
    assert made[1] in {
        f"{day(moment, line.zone)} {moment.astimezone(line.zone).year}"
        for moment in (datetime.now(UTC) - MINUTE, datetime.now(UTC))
    }
    for tile, expected in zip(tiles_of(page), list(expected_tiles(line))[:5], strict=True):
        holds_only(tile, expected)
    breaches = []
    for streak, name in zip(line.breaches, references(measured, "attic"), strict=True):
        figure, span, count, reference = breach_words(streak, line, name["reference"])
        breaches += [reference, figure, span, count]
    holds_only(section(page, "breaches-title"), breaches)
    holds_only(section(page, "tools-title"), expected_tools(line, glyphs=False))
    assert_map(line, page.partition('<table class="heat heat-wide">')[2].partition("</table>")[0])
    days = rows_of(section(page, "days-title"))
    expected_days = [
        [day(midnight(one, line.zone), line.zone), *cells_of(line.of(one, one), "download", None)]
        for one in days_of(*first_and_last(line))
        if line.of(one, one)
    ]
    assert days == [cells[:-1] for cells in expected_days]
