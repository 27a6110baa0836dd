"""Every number about runs and breaches: on pages, in the feed and in files."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import unescape
from statistics import median
from xml.etree import ElementTree

import httpx
import pytest

from tests.lab.service import Service
from tests.web.expected import address, breach_words, references, run_words
from tests.web.lines import DOWN, FIGURES, INTERNET, LATENCY, TOOLS, UP, Line, Taken, bests
from tests.web.reading import (
    holds_only,
    main_of,
    mbps,
    milliseconds,
    number,
    percent,
    plain,
    row,
    section,
    when,
)
from tests.web.stages import SAME_SITE

RULE = "more than 5 runs in a row below 50 % of the subscribed speed."
RECEIVED = "query($id: UUID!) { run(id: $id) { receivedAt } }"


@pytest.fixture
def client(measured: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=measured.base_url, headers=SAME_SITE, timeout=90) as client:
        yield client


def test_the_breaches(client: httpx.Client, measured: Service, lines: dict[str, Line]) -> None:
    """Of the overview's timeline and of their own page."""
    line = lines["attic"]
    names = references(measured, "attic")
    assert len(line.breaches) == len(names) == 3
    expected = []
    for streak, name in zip(line.breaches, names, strict=True):
        expected += breach_words(streak, line, name["reference"])
    part = section(client.get(address(line)).text, "breaches-title")
    holds_only(part, [RULE, *expected])
    page = client.get("/breaches?probe=attic").text
    holds_only(main_of(page), expected)


def test_one_breach_and_its_runs(
    client: httpx.Client, measured: Service, lines: dict[str, Line]
) -> None:
    line = lines["attic"]
    for streak, name in zip(line.breaches, references(measured, "attic"), strict=True):
        page = client.get(f"/breaches/{name['id']}").text
        figure, span, count, reference = breach_words(streak, line, name["reference"])
        rows = [word for run in streak.seen[::-1] for word in run_words(run, line)]
        main = main_of(page)
        holds_only(main, [reference, figure, span, count, RULE, *rows])


def test_a_streak_too_short_for_a_breach(client: httpx.Client, lines: dict[str, Line]) -> None:
    """And what one tool says alone: twice, and once still."""
    line = lines["porch"]
    (streak,) = line.streaks
    part = section(client.get(address(line)).text, "breaches-title")
    expected = [RULE, *finding_words(line)]
    longest = f"at most {len(streak.runs)} runs in a row below 50 % of the subscribed speed; "
    holds_only(part, [*expected, f"{longest}a breach needs 6."])


def finding_words(line: Line) -> Iterator[str]:
    """Runs in a row in which fast.com was below half and no other tool was, newest first."""
    found: list[tuple[list[Taken], Taken | None]] = []
    alone: list[Taken] = []
    for run in line.runs:
        down = run.bought.down if run.bought else 0.0
        if run.broke:
            continue
        if run.figures["fast"][DOWN] < down / 2:
            alone.append(run)
        elif alone:
            found.append((alone, run))
            alone = []
    found.append((alone, None))
    assert len(found) == 2
    for streak, after in found[::-1]:
        span = f"since {when(streak[0].start, line.zone)}."
        if after is not None:
            span = f"{when(streak[0].start, line.zone)} to {when(streak[-1].start, line.zone)}."
        yield f"fast: {len(streak)} runs in a row below the rule"
        yield span
        middles = {tool: mbps(median(bests(streak, tool=tool))) for tool in INTERNET}
        others = f"librespeed {middles['librespeed']} Mbps, ookla {middles['ookla']} Mbps"
        yield f"Its median was {middles['fast']} Mbps; meanwhile {others}."


@pytest.mark.parametrize("probe", ["attic", "porch", "shed"])
def test_the_table_of_runs(client: httpx.Client, lines: dict[str, Line], probe: str) -> None:
    line = lines[probe]
    left = line.runs[::-1]
    path: str | None = f"/runs?probe={probe}"
    while path:
        page = client.get(path).text
        mine, left = left[:50], left[50:]
        table = page.partition('<table class="figures runs')[2].partition("</table>")[0]
        holds_only(table, [word for run in mine for word in run_words(run, line)])
        older = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = unescape(older[1]) if older else None
    assert left == []


@pytest.mark.parametrize("place", [0, 23, 148, 149, -1])
def test_one_run(
    client: httpx.Client, measured: Service, lines: dict[str, Line], place: int
) -> None:
    """Measured, an outage, twice with other traffic, the last."""
    line = lines["attic"]
    run = line.runs[place]
    received = measured.query(RECEIVED, {"id": run.id})["run"]["receivedAt"]
    page = client.get(f"/runs/{run.id}").text
    main = main_of(page)
    reason = re.search(
        r'<p><span class="tag outcome.*?<span class="quiet">(.*?)</span>', main, re.DOTALL
    )
    assert reason is not None
    holds_only(
        main, list(details_of(run, line, plain(reason[1]), datetime.fromisoformat(received)))
    )


def details_of(run: Taken, line: Line, reason: str, received: datetime) -> Iterator[str]:
    """*reason* is in words, with the figures of the other traffic at most."""
    yield when(run.start, line.zone)
    if run.other_mbps is not None:
        assert run.bought is not None
        allowed = f"{run.bought.down / 10:.4g}"
        assert f"{run.other_mbps:.4g} Mbps, and at most {allowed} are allowed." in reason
    yield reason
    best = run.best()
    if best is not None and run.bought is not None:
        yield f"{mbps(best)} Mbps ({percent(run.ratio)} of {number(run.bought.down)})"
    if run.other_mbps is not None:
        yield f"{mbps(run.other_mbps)} Mbps of other traffic"
    if run.cpu_percent is not None:
        yield f"CPU at {number(run.cpu_percent)} %"
    yield "9.8.7"
    yield when(received, line.zone)
    yield run.id
    for tool in TOOLS:
        figures = run.figures[tool]
        if not figures:
            continue
        cells = [mbps(figures.get(key)) for key in FIGURES[:2]]
        cells += [milliseconds(figures.get(key)) for key in FIGURES[2:-1]]
        yield row([*cells, percent(figures.get(FIGURES[-1]), 1)])


@pytest.mark.parametrize("probe", ["attic", "porch"])
def test_the_files_hold_the_runs_to_the_last_digit(
    client: httpx.Client, lines: dict[str, Line], probe: str
) -> None:
    line = lines[probe]
    newest_first = [(run, tool) for run in line.runs[::-1] for tool in TOOLS]
    rows = list(csv.DictReader(io.StringIO(client.get(f"/runs.csv?probe={probe}").text)))
    assert_rows(rows, newest_first)
    stored = client.get(f"/runs.json?probe={probe}").json()
    for found, run in zip(stored, line.runs[::-1], strict=True):
        assert found["id"] == run.id
        assert found.get("downloadMbps") == run.best()
        assert found.get("uploadMbps") == run.best(UP)
        assert found.get("latencyMs") == run.best(LATENCY)
        assert found.get("ratioOfSubscribed") == pytest.approx(run.ratio)
        for measurement, tool in zip(found["measurements"], TOOLS, strict=True):
            assert {key: measurement[key] for key in FIGURES if key in measurement} == dict(
                run.figures[tool]
            )


CSV = {
    "download_mbps": DOWN,
    "upload_mbps": UP,
    "latency_ms": LATENCY,
    "jitter_ms": "jitterMs",
    "packet_loss_ratio": "packetLossRatio",
}


def assert_rows(rows: Sequence[dict[str, str]], expected: Sequence[tuple[Taken, str]]) -> None:
    for found, (run, tool) in zip(rows, expected, strict=True):
        assert (found["run_id"], found["tool"]) == (run.id, tool)
        assert datetime.fromisoformat(found["timestamp"]) == run.start
        figures = {key: float(found[column]) for column, key in CSV.items() if found[column] != ""}
        assert figures == {key: run.figures[tool][key] for key in figures}
        assert len(figures) == len(run.figures[tool].keys() & set(CSV.values()))


def test_the_evidence_holds_the_breachs_runs(
    client: httpx.Client, measured: Service, lines: dict[str, Line]
) -> None:
    for streak, name in zip(lines["attic"].breaches, references(measured, "attic"), strict=True):
        expected = [(run, tool) for run in streak.seen for tool in TOOLS]
        text = client.get(f"/breaches/{name['id']}/runs.csv").text
        assert_rows(list(csv.DictReader(io.StringIO(text))), expected)
        evidence = client.get(f"/breaches/{name['id']}/evidence.json").json()
        bought = streak.runs[0].bought
        assert bought is not None
        assert evidence["breach"]["count"] == len(streak.runs)
        assert evidence["breach"]["medianMbps"] == pytest.approx(streak.median)
        assert evidence["breach"]["subscribedMbps"] == bought.down
        assert [run["id"] for run in evidence["runs"]] == [run.id for run in streak.seen]


def test_the_feed(client: httpx.Client, measured: Service, lines: dict[str, Line]) -> None:
    line = lines["attic"]
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ElementTree.fromstring(client.get("/feed.atom?probe=attic").text)  # noqa: S314 - our own feed
    entries = list(feed.iter(f"{atom}entry"))
    names = references(measured, "attic")
    for entry, streak, name in zip(entries, line.breaches, names, strict=True):
        figure, span, count, reference = breach_words(streak, line, name["reference"])
        holds_only(entry.findtext(f"{atom}title") or "", [reference, figure])
        holds_only(entry.findtext(f"{atom}summary") or "", [span, count])
        changed = streak.ended or streak.runs[-1].start
        assert datetime.fromisoformat(entry.findtext(f"{atom}updated") or "") == changed
        opened = streak.runs[5].start
        assert datetime.fromisoformat(entry.findtext(f"{atom}published") or "") == opened
