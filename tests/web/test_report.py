"""The month's report, its link that expires, and what a visit weighs."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

import httpx
import pytest
from speedtrap_web.http.shared_links import LONGEST_TOKEN, Links, Share

from tests.lab.service import Service
from tests.web.test_pages import SAME_SITE, text_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHARE = Share("laptop", "2026-11", NOW + timedelta(days=7))
ALL_RUNS = "{ runs(first: 500) { nodes { outcome measurements { tool downloadMbps } } } }"
FIRST_VISIT_BYTES = 150_000
DATA_BYTES = 40_000


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=30) as client:
        yield client


def test_a_link_opens_until_it_expires() -> None:
    links = Links("s" * 40)
    token = links.seal(SHARE)
    assert links.open(token, NOW) == SHARE
    assert links.open(token, SHARE.until) is None
    assert Links("t" * 40).open(token, NOW) is None
    assert links.open("x" * (LONGEST_TOKEN + 1), NOW) is None
    assert links.open("\u00e9", NOW) is None


def test_the_report_is_shared_by_an_admin_and_read_by_anybody(
    client: httpx.Client, lived_in: Service
) -> None:
    form = {"probe": "laptop", "month": f"{datetime.now(UTC):%Y-%m}", "days": "7"}
    assert client.post("/report/share", data=form).headers["location"].startswith("/login")
    assert "Service report" in text_of(client.get("/report"))
    client.post("/login", data={"key": lived_in.keys["admin"]})
    link = re.search(
        r'<a href="(http[^"]+/shared/[^"]+)"', client.post("/report/share", data=form).text
    )
    assert link is not None
    page = httpx.get(link[1])
    assert "this link works until" in text_of(page)
    assert "5f1d5f1d" not in page.text
    assert 'href="/settings' not in page.text
    assert httpx.get(link[1][:-5] + "AAAAA").status_code == 404
    assert client.post("/report/share", data={**form, "days": "9999"}).status_code == 400


def test_the_figures_are_those_of_the_raw_runs(client: httpx.Client, lived_in: Service) -> None:
    """By another path: the best internet tool of each run, and the middle of them."""
    runs = lived_in.query(ALL_RUNS)["runs"]["nodes"]
    best = [
        max(m["downloadMbps"] for m in run["measurements"] if m["tool"] != "lan")
        for run in runs
        if run["outcome"] == "MEASURED"
    ]
    outages = sum(run["outcome"] == "OUTAGE" for run in runs)
    below = sum(mbps < 470 for mbps in best) + outages
    text = text_of(client.get("/", params={"range": "all"}))
    assert f"{median(best):.0f} of 940 Mbps" in text
    assert f"{below} of {len(best) + outages} runs" in text
    assert f"n = {len(best)} runs" in text


def wire_bytes(client: httpx.Client, path: str) -> int:
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.status_code == 200
        return sum(len(piece) for piece in answer.iter_raw())


def test_a_visit_is_light_and_a_second_one_weighs_nothing(client: httpx.Client) -> None:
    page = client.get("/?range=1y")
    assets = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text))
    folder = next(path for path in assets if path.endswith("page.js")).rpartition("/")[0]
    assets |= {f"{folder}/{name}.js" for name in ("chart", "copy", "live")}
    total = wire_bytes(client, "/?range=1y") + sum(wire_bytes(client, path) for path in assets)
    assert total <= FIRST_VISIT_BYTES
    query = (
        "probe=laptop&since=2026-01-01T00:00:00Z&until=2027-01-01T00:00:00Z&buckets=92&points=644"
    )
    question = f"/api/q/history?{query}"
    assert wire_bytes(client, question) <= DATA_BYTES
    tag = client.get(question).headers["etag"]
    again = client.get(question, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
