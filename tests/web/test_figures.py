"""Each figure on the page, reckoned once more by another path: plain Python over the raw runs."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from statistics import median, quantiles
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.lab.service import Service
from tests.web.test_pages import SAME_SITE

RUNS = """{ runs(first: 500) { nodes {
  startedAt finishedAt outcome measurements { tool downloadMbps failure { kind } }
} } }"""
BREACH = "{ breaches { nodes { id reference } } }"
DENVER = ZoneInfo("America/Denver")
SUBSCRIBED = 940.0
HALF = SUBSCRIBED / 2
HOUR = timedelta(hours=1)
SPACE, MINUS, DASH = "\N{NARROW NO-BREAK SPACE}", "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Raw:
    """One run: the best internet tool's figure, None where none counts."""

    start: datetime
    outcome: str
    best: float | None
    by_tool: dict[str, float | None]

    @property
    def is_peak(self) -> bool:
        return self.start.weekday() < 5 and 19 <= self.start.hour < 23


@pytest.fixture(scope="module")
def raw(lived_in: Service) -> list[Raw]:
    """Oldest first, on the plan's clock."""
    nodes = lived_in.query(RUNS)["runs"]["nodes"]
    return [_raw(node) for node in reversed(nodes)]


def _raw(node: dict[str, object]) -> Raw:
    by_tool = {m["tool"]: m["downloadMbps"] for m in node["measurements"]}  # type: ignore[attr-defined] # JSON
    internet = [mbps for tool, mbps in by_tool.items() if tool != "lan" and mbps is not None]
    return Raw(
        datetime.fromisoformat(str(node["startedAt"])).astimezone(DENVER),
        str(node["outcome"]),
        max(internet) if node["outcome"] == "MEASURED" else None,
        by_tool,
    )


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=30) as client:
        yield client


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def tiles_of(page: str) -> list[str]:
    return [plain(tile) for tile in re.findall(r'<li class="tile.*?</li>', page, re.DOTALL)]


def section(page: str, title_id: str) -> str:
    found = re.search(rf'aria-labelledby="{title_id}".*?</section>', page, re.DOTALL)
    assert found is not None
    return found[0]


def rows_of(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2], re.DOTALL)
    return [
        [plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def bests(runs: Sequence[Raw]) -> list[float]:
    return [run.best for run in runs if run.best is not None]


def low(runs: Sequence[Raw]) -> int:
    """Below half of the plan, a line down included."""
    return sum(run.outcome == "OUTAGE" or (run.best or HALF) < HALF for run in runs)


def percent(ratio: float, digits: int = 0) -> str:
    written = f"{abs(ratio) * 100:.{digits}f}{SPACE}%".replace(SPACE, " ")
    return f"{MINUS}{written}" if ratio < 0 else written


def mbps(value: float | None) -> str:
    """Three figures."""
    if value is None:
        return DASH
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def p20(values: list[float]) -> float:
    return quantiles(values, n=5, method="inclusive")[0]


def expected_tiles(runs: Sequence[Raw]) -> list[str]:
    """The first five of the page's tiles, from the runs."""
    measured = bests(runs)
    downs = [run for run in runs if run.outcome == "OUTAGE"]
    total = len(measured) + len(downs)
    share = low(runs) / total
    below = percent(share, 1 if 0 < share < 0.1 else 0)
    peak, off = (
        [run.best for run in runs if run.best and run.is_peak is at] for at in (True, False)
    )
    sure = p20([value for value in peak if value])
    drop = median(filter(None, peak)) / median(filter(None, off)) - 1
    down = outage_minutes(runs)
    return [
        f"{percent(median(measured) / SUBSCRIBED)} {mbps(median(measured))} of 940 Mbps "
        f"n = {len(measured)} runs",
        f"{below} {low(runs)} of {total} runs n = {total} runs",
        f"{percent(sure / SUBSCRIBED)} at least {mbps(sure)} Mbps in 80 % of peak runs "
        f"n = {len(peak)} runs",
        f"{percent(drop)} {mbps(median(filter(None, peak)))} at peak, "
        f"{mbps(median(filter(None, off)))} Mbps off-peak "
        f"n = {len(peak)} at peak, {len(off)} off-peak",
        f"{1 if downs else 0} {down // 60} h {down % 60} min in all n = {total} runs",
    ]


def outage_minutes(runs: Sequence[Raw]) -> int:
    """From the first run that found the line down to the next one that did not."""
    first = next(i for i, run in enumerate(runs) if run.outcome == "OUTAGE")
    up = next(run for run in runs[first:] if run.outcome != "OUTAGE")
    return round((up.start - runs[first].start) / timedelta(minutes=1))


@pytest.mark.parametrize("path", ["/?range=all", "/?range=30d", "/report"])
def test_the_tiles(client: httpx.Client, raw: list[Raw], path: str) -> None:
    this_month = datetime.now(DENVER).strftime("%Y-%m")
    runs = [run for run in raw if path != "/report" or run.start.strftime("%Y-%m") == this_month]
    found = tiles_of(client.get(path).text.replace(SPACE, " "))
    for tile, expected in zip(found[:5], expected_tiles(runs), strict=True):
        assert expected in re.sub(r"[✓◆▼○] ", "", tile)


def test_the_last_tile_and_the_streak(client: httpx.Client, raw: list[Raw]) -> None:
    bad = [(run.best or 0) < HALF for run in raw]
    streak = bad[::-1].index(False)
    tile = tiles_of(client.get("/").text.replace(SPACE, " "))[5]
    assert f"{mbps(raw[-1].best)} Mbps" in tile
    assert tile.endswith(f"{streak} in a row below 50 %")


def test_the_verdict_says_what_the_tiles_say(client: httpx.Client, raw: list[Raw]) -> None:
    text = plain(client.get("/?range=all").text.replace(SPACE, " "))
    total = len(bests(raw)) + sum(run.outcome == "OUTAGE" for run in raw)
    assert f"typical run reached {mbps(median(bests(raw)))} Mbps" in text
    assert f"{low(raw)} of {total} runs were below 50 %" in text


def test_the_tools_side_by_side(client: httpx.Client, raw: list[Raw]) -> None:
    rows = {
        row[0].split()[0]: row[1:] for row in rows_of(section(client.get("/").text, "tools-title"))
    }
    assert set(rows) == {"ookla", "speedtest-cli", "fast", "lan"}
    for tool, cells in rows.items():
        values = [run.by_tool[tool] for run in raw]
        good = [value for value in values if value is not None]
        failed = len(values) - len(good)
        assert cells[0] == mbps(median(good))
        assert (cells[2], cells[3].lstrip("✖ ")) == (str(len(good)), str(failed))


def test_the_table_of_the_chart(client: httpx.Client, raw: list[Raw]) -> None:
    """Day by day: median, p10, p90, n, below, line down."""
    by_day: dict[str, list[Raw]] = defaultdict(list)
    for run in raw:
        by_day[f"{run.start:%a} {run.start.day} {run.start:%b}"].append(run)
    rows = rows_of(section(client.get("/?range=30d").text, "chart-title"))
    assert len(rows) == 30
    for when, *cells in rows:
        assert cells[:6] == a_days_cells(by_day.get(when, [])), when


def test_the_days_of_the_report(client: httpx.Client, raw: list[Raw]) -> None:
    by_day: dict[str, list[Raw]] = defaultdict(list)
    for run in raw:
        by_day[f"{run.start:%a} {run.start.day} {run.start:%b}"].append(run)
    rows = rows_of(section(client.get("/report").text, "days-title"))
    assert rows
    for when, *cells in rows:
        assert cells == a_days_cells(by_day[when]), when


def a_days_cells(runs: Sequence[Raw]) -> list[str]:
    values = bests(runs)
    downs = sum(run.outcome == "OUTAGE" for run in runs)
    tenths = quantiles(values, n=10, method="inclusive") if len(values) > 1 else values
    figures = [median(values), tenths[0], tenths[-1]] if values else [None] * 3
    return [*map(mbps, figures), str(len(values)), str(low(runs)), str(downs)]


def test_the_map_of_hours(client: httpx.Client, raw: list[Raw]) -> None:
    """Each cell the middle of the medians of its four hours, each as often as it was measured."""
    hours: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in raw:
        if run.best is not None:
            hours[run.start.weekday(), run.start.hour].append(run.best)
    wide = (
        client.get("/?range=30d")
        .text.partition('class="heat heat-wide"')[2]
        .partition("</table>")[0]
    )
    for weekday, row in enumerate(rows_of(wide)):
        for column, cell in enumerate(row[1:]):
            inside = [hours[weekday, column * 4 + hour] for hour in range(4)]
            middles = [median(values) for values in inside for _ in values]
            count = sum(len(values) for values in inside)
            assert cell == f"{median(middles) / SUBSCRIBED * 100:.0f} {count}"


def test_how_often_at_least(client: httpx.Client, raw: list[Raw]) -> None:
    """Read off a curve of 5 % steps, so within 5 points of the count."""
    rows = rows_of(section(client.get("/?range=all").text, "curve-title").replace(SPACE, " "))
    assert [row[0].split()[0] for row in rows] == ["940", "893", "752", "470", "235"]
    for ratio, (_, share) in zip((1, 0.95, 0.8, 0.5, 0.25), rows, strict=True):
        reached = sum(value >= ratio * SUBSCRIBED for value in bests(raw)) / len(bests(raw))
        assert abs(float(share.removesuffix(" %")) - reached * 100) <= 5


def test_the_breach_and_its_runs(client: httpx.Client, lived_in: Service, raw: list[Raw]) -> None:
    (breach,) = lived_in.query(BREACH)["breaches"]["nodes"]
    page = client.get(f"/breaches/{breach['id']}").text.replace(SPACE, " ")
    slow = [run for run in raw if run.best is not None and run.best < HALF]
    middle = median(bests(slow))
    assert f"{mbps(middle)} Mbps ({percent(middle / SUBSCRIBED)} of 940)" in plain(page)
    assert f"{len(slow)} runs in a row" in plain(page)
    newest_first = slow[::-1]
    rows = rows_of(section(page, "runs-title"))
    assert len(rows) == len(slow)
    for run, cells in zip(newest_first, rows, strict=True):
        assert cells[0].startswith(
            f"{run.start:%a} {run.start.day} {run.start:%b}, {run.start:%H:%M}"
        )
        assert cells[2:4] == [mbps(run.best), percent((run.best or 0) / SUBSCRIBED)]
        names = ("fast", "ookla", "speedtest-cli", "lan")
        assert cells[4:8] == [mbps(run.by_tool[name]) for name in names]
