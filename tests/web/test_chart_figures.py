"""Every number of the chart: its table, what the live one draws, and the still picture."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from html import unescape
from itertools import pairwise
from statistics import median
from typing import Any

import httpx
import pytest

from tests.lab.service import Service
from tests.web.expected import METRICS, address, below_by, cells_of, first_and_last
from tests.web.lines import TOOLS, Line, Taken, bests, days_of, midnight, tenths
from tests.web.reading import day, rows_of, section, when
from tests.web.stages import SAME_SITE

PAID = {"download": "down", "upload": "up"}


SPANS = {"days": (10, 28, timedelta(days=1)), "quarters of a day": (12, 20, timedelta(hours=6))}
SPANS["hours"] = (24, 26, timedelta(hours=1))
"""Days of October and how wide a row of the table is; on the 25th clocks go back."""


@pytest.fixture
def client(measured: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=measured.base_url, headers=SAME_SITE, timeout=90) as client:
        yield client


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("tool", [None, *TOOLS])
@pytest.mark.parametrize("span", SPANS)
def test_the_table_of_the_chart(
    client: httpx.Client, lines: dict[str, Line], metric: str, tool: str | None, span: str
) -> None:
    """No run of the day after the last one, even where a day has 25 hours."""
    line = lines["attic"]
    *days, width = SPANS[span]
    first, last = (first_and_last(line)[0].replace(day=day) for day in days)
    choice = {"metric": metric, **({"tool": tool} if tool else {})}
    page = client.get(address(line, **choice, since=f"{first}", until=f"{last}")).text
    found = line.of(first, last)
    expected = []
    for start, end in pairwise(bucket_starts(line, first, last, width)):
        mine = [run for run in found if start <= run.start < end]
        label = day(start + width / 2, line.zone) if span == "days" else when(start, line.zone)
        expected.append([label, *cells_of(mine, metric, tool)])
    table = section(page, "chart-title").partition("<table")[2]
    assert rows_of(table) == expected[::-1]


def bucket_starts(line: Line, first: date, last: date, width: timedelta) -> list[datetime]:
    """And the end. Days are the calendar's."""
    days = [midnight(one, line.zone) for one in days_of(first, last + timedelta(days=1))]
    if width >= timedelta(days=1):
        return days
    count = (days[-1] - days[0]) // width
    return [days[0] + number * width for number in range(count + 1)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("tool", [None, "fast", "lan"])
def test_what_the_live_chart_draws(
    client: httpx.Client, lines: dict[str, Line], metric: str, tool: str | None
) -> None:
    line = lines["attic"]
    choice = {"metric": metric, **({"tool": tool} if tool else {})}
    facts = facts_of(client.get(address(line, **choice)).text)
    data = client.get("/api/q/history", params=facts["question"]).json()
    for part, wanted in (("trend", 19), ("detail", len(data["detail"]["t"]))):
        columns = data[part]
        assert len(columns["t"]) == wanted
        width = timedelta(seconds=columns["bucketS"])
        for place, start_s in enumerate(columns["t"]):
            start = datetime.fromtimestamp(start_s, UTC)
            end = next_start(columns["t"], place) or start + width
            mine = [run for run in line.runs if start <= run.start < end]
            assert_bucket(columns, place, mine, metric, tool)


def next_start(starts: Sequence[float], place: int) -> datetime | None:
    after = starts[place + 1 : place + 2]
    return datetime.fromtimestamp(after[0], UTC) if after else None


def assert_bucket(
    columns: dict[str, Any], place: int, mine: Sequence[Taken], metric: str, tool: str | None
) -> None:
    values = bests(mine, METRICS[metric], tool)
    expected: dict[str, float | None] = dict.fromkeys(("median", "p10", "p90", "min", "max"))
    if values:
        low, high = tenths(values)
        expected = {"median": median(values), "p10": low, "p90": high}
        expected |= {"min": min(values), "max": max(values)}
    for name in expected.keys() & columns.keys():
        assert columns[name][place] == pytest.approx(expected[name]), name
    assert columns["n"][place] == len(values)
    if "below" in columns:
        assert columns["below"][place] == below_by(mine, metric, tool)
        assert columns["outages"][place] == sum(run.kind == "down" for run in mine)
        assert columns["inconclusive"][place] == sum(run.kind == "busy" for run in mine)
    bought = mine[-1].bought if mine else None
    if bought and "subscribedMbps" in columns:
        assert columns["subscribedMbps"][place] == getattr(bought, PAID.get(metric, ""), None)


def facts_of(page: str) -> dict[str, Any]:
    found = re.search(r'data-facts="([^"]*)"', page)
    assert found is not None
    facts: dict[str, Any] = json.loads(unescape(found[1]))
    return facts


def test_what_the_live_chart_shades_and_where_its_rule_lies(
    client: httpx.Client, lines: dict[str, Line]
) -> None:
    line = lines["attic"]
    facts = facts_of(client.get(address(line)).text)
    for (start, end), streak in zip(facts["breaches"], line.breaches, strict=True):
        assert start == streak.runs[0].start.timestamp()
        # One that goes on is shaded up to the moment at which the chart is drawn.
        assert end == (streak.ended.timestamp() if streak.ended else None)
    first, last = first_and_last(line)
    assert datetime.fromisoformat(facts["question"]["since"]) == midnight(first, line.zone)
    after = last + timedelta(days=1)
    assert datetime.fromisoformat(facts["question"]["until"]) == midnight(after, line.zone)
    assert (facts["belowRatio"], facts["belowMbps"], facts["aboveMs"]) == (0.5, None, None)


@pytest.mark.parametrize("metric", METRICS)
def test_the_still_picture_is_drawn_to_its_own_scale(
    client: httpx.Client, lines: dict[str, Line], metric: str
) -> None:
    """The median's stair read back from the picture by its marks, against the runs."""
    line = lines["attic"]
    picture = section(client.get(address(line, metric=metric)).text, "chart-title")
    ticks = re.findall(r'<text class="tick" x="40" y="([\d.]+)"[^>]*>([\d,.]+)<', picture)
    (low_y, low), (high_y, high) = (
        (float(y), float(label.replace(",", ""))) for y, label in (ticks[0], ticks[-1])
    )
    stair = re.search(r'class="s-median" d="([^"]*)"', picture)
    assert stair is not None
    steps = re.findall(r"[ML]([\d.]+) ([\d.]+)H([\d.]+)", stair[1])
    first, last = first_and_last(line)
    starts = bucket_starts(line, first, last, timedelta(days=1))
    whole = starts[-1] - starts[0]
    figures = {
        start: median(values)
        for start, end in pairwise(starts)
        if (
            values := bests([run for run in line.runs if start <= run.start < end], METRICS[metric])
        )
    }
    assert len(steps) == len(figures)
    for (left, y, _), (start, figure) in zip(steps, figures.items(), strict=True):
        # The plot is 256 px from 12 px down, in 300 units; its marks stand in the same place.
        at = 12 + float(y) / 300 * 256
        value = low + (low_y - at) / (low_y - high_y) * (high - low)
        assert value == pytest.approx(figure, abs=(high - low) / 1000)
        # Every day is drawn with 24 hours.
        assert float(left) == pytest.approx((start - starts[0]) / whole * 1000, abs=2.5)
