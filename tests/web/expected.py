"""What a page should say of a line, reckoned from its runs in plain Python."""

from collections.abc import Iterator, Sequence
from datetime import date
from statistics import median
from zoneinfo import ZoneInfo

import httpx

from tests.lab.service import Service
from tests.web.lines import (
    DOWN,
    LATENCY,
    TOOLS,
    UP,
    Line,
    Streak,
    Taken,
    bests,
    fifth,
    midnight,
    outages,
    share_below,
    tenths,
)
from tests.web.reading import (
    DASH,
    EVENING,
    day,
    days_and_hours,
    mbps,
    milliseconds,
    number,
    percent,
    row,
    when,
)

METRICS = {"download": DOWN, "upload": UP, "latency": LATENCY}


def address(line: Line, **more: str) -> str:
    """The overview of all the line's days."""
    first, last = first_and_last(line)
    query: dict[str, str] = {"probe": line.probe, "since": f"{first}", "until": f"{last}", **more}
    return f"/?{httpx.QueryParams(query)}"


def first_and_last(line: Line) -> tuple[date, date]:
    return line.local(line.runs[0]).date(), line.local(line.runs[-1]).date()


def words_of_the_range(line: Line) -> str:
    first, last = (day(midnight(one, line.zone), line.zone) for one in first_and_last(line))
    return f"the days from {first} to {last}"


def ratios(found: Sequence[Taken]) -> list[float]:
    return [run.ratio for run in found if run.ratio is not None]


def at_peak(line: Line) -> tuple[list[float], list[float]]:
    peak = [value for run in line.runs if line.is_peak(run) and (value := run.best())]
    off = [value for run in line.runs if not line.is_peak(run) and (value := run.best())]
    return peak, off


def tool_ratios(line: Line, tool: str) -> list[float]:
    """Each figure over what was bought at its time."""
    pairs = [(run.by(tool), run.bought) for run in line.runs]
    return [value / bought.down for value, bought in pairs if value and bought]


def expected_tiles(line: Line) -> Iterator[list[str]]:
    found = line.runs
    measured = bests(found)
    n = f"n = {len(measured)} runs"
    if not line.plans:
        yield [f"{mbps(median(measured))} Mbps", n]
        yield []
    else:
        below, said = share_below(found)
        share = below / said
        typical = percent(median(ratios(found)))
        if len(line.plans) > 1:
            yield [typical, f"{mbps(median(measured))} Mbps, each run by the plan of its time", n]
        else:
            yield [typical, f"{mbps(median(measured))} of {number(line.plans[0].down)} Mbps", n]
        yield [
            "below 50 %",
            percent(share, 1 if 0 < share < 0.1 else 0),
            f"{below} of {said} runs n = {said} runs",
        ]
    yield from _tiles_of_the_peak(line)
    count, lasted = outages(found)
    down = [days_and_hours(lasted), "in all"] if count else []
    total = len(measured) + sum(run.kind == "down" for run in found)
    yield [str(count), *down, f"n = {total} runs"]
    yield list(_last_tile(line))


def _tiles_of_the_peak(line: Line) -> Iterator[list[str]]:
    peak, off = at_peak(line)
    sure = f"at least {mbps(fifth(peak))} Mbps in 80 % of peak runs n = {len(peak)} runs"
    peak_ratios = ratios([run for run in line.runs if line.is_peak(run)])
    yield [percent(fifth(peak_ratios)) if line.plans else f"{mbps(fifth(peak))} Mbps", sure]
    n = f"n = {len(peak)} at peak, {len(off)} off-peak"
    if len(line.plans) > 1:
        yield ["not compared: the plan changed in this range", n]
        return
    change = median(peak) / median(off) - 1
    figures = f"{mbps(median(peak))} at peak, {mbps(median(off))} Mbps off-peak"
    yield [percent(change), figures, n]


def _last_tile(line: Line) -> Iterator[str]:
    last = line.runs[-1]
    yield f"{mbps(last.best())} Mbps"
    yield when(last.start, line.zone)
    if line.plans:
        streak = line.streaks[-1] if last.broke else None
        yield f"{len(streak.runs)} in a row below 50 %" if streak else "no streak below 50 %"


def cells_of(found: Sequence[Taken], metric: str, tool: str | None) -> list[str]:
    """Median, p10, p90, n, below, line down, inconclusive."""
    values = bests(found, METRICS[metric], tool)
    written = milliseconds if metric == "latency" else mbps
    figures = [median(values), *tenths(values)] if values else [None] * 3
    counts = [len(values), below_by(found, metric, tool)]
    counts += [sum(run.kind == kind for run in found) for kind in ("down", "busy")]
    return [*map(written, figures), *map(str, counts)]


def below_by(found: Sequence[Taken], metric: str, tool: str | None) -> int:
    """The rule is about downloads, and asks nothing of one's own network."""
    if metric != "download" or tool == "lan":
        return 0
    count = 0
    for run in found:
        assert run.bought is not None
        value = run.by(tool)
        count += run.kind == "down" or (value is not None and value < run.bought.down / 2)
    return count


def expected_tools(line: Line, *, glyphs: bool = True) -> Iterator[str]:
    middles = {}
    for tool in TOOLS:
        values = bests(line.runs, tool=tool)
        middles[tool] = median(values)
        ratio = ""
        if tool != "lan":
            ratio = percent(median(tool_ratios(line, tool))) if line.plans else DASH
        failed = sum(not run.figures[tool] for run in line.runs)
        glyph = "✖ " if failed and glyphs else ""
        yield row([mbps(middles[tool]), ratio, len(values), f"{glyph}{failed}"])
    del middles["lan"]
    factor = max(middles.values()) / min(middles.values())
    if factor < 1.15:
        yield "All 3 internet tools agree within 15 %."
    elif factor >= 1.5:
        yield f"{number(factor, 1)} times as much"


def breach_words(streak: Streak, line: Line, reference: str) -> list[str]:
    figure, subscribed = streak.median, streak.runs[0].bought
    assert subscribed is not None
    ratio = percent(figure / subscribed.down)
    return [
        f"{mbps(figure)} Mbps ({ratio} of {number(subscribed.down)})",
        span_of(streak, line.zone),
        f"{len(streak.runs)} runs in a row",
        reference,
    ]


def span_of(streak: Streak, zone: ZoneInfo) -> str:
    start = when(streak.runs[0].start, zone)
    return f"{start} to {when(streak.ended, zone)}" if streak.ended else f"since {start}"


def run_words(run: Taken, line: Line) -> Iterator[str]:
    """One row of a table of runs."""
    yield when(run.start, line.zone)
    yield mbps(run.best())
    yield percent(run.ratio)
    for tool in TOOLS:
        if run.figures[tool]:
            yield mbps(run.figures[tool][DOWN])
    if run.other_mbps is not None:
        yield f"{mbps(run.other_mbps)} Mbps of other traffic"
    if run.cpu_percent is not None:
        yield f"CPU at {number(run.cpu_percent)} %"


REFERENCES = "query($p: String) { breaches(probe: $p) { nodes { id reference status } } }"


def references(service: Service, probe: str) -> list[dict[str, str]]:
    """What its breaches are called, the newest first: names, not figures."""
    nodes: list[dict[str, str]] = service.query(REFERENCES, {"p": probe})["breaches"]["nodes"]
    return nodes


def expected_verdict(line: Line, range_words: str) -> Iterator[str]:
    """The sentences about its runs as a whole."""
    found, plan = line.runs, line.plans[-1]
    below, said = share_below(found)
    reached = percent(median(ratios(found)))
    of = f"{reached} of the {number(plan.down)} Mbps you pay for."
    if len(line.plans) > 1:
        of = f"and {reached} of what you paid for at its time."
    yield range_words
    yield f"the typical run reached {mbps(median(bests(found)))} Mbps, {of}"
    peak, off = at_peak(line)
    if len(line.plans) == 1 and median(peak) / median(off) < 0.9:
        lower = percent(1 - median(peak) / median(off))
        yield f"{EVENING} it drops to {mbps(median(peak))} Mbps, {lower} lower"
    yield f"{below} of {said} runs were below 50 %"
