"""Runs and breaches: what is listed, what a page of one says, and who may change what."""

import csv
import io
import json
import re
from collections.abc import Iterator
from html import unescape
from xml.etree import ElementTree

import httpx
import pytest
from speedtrap_web.views.csv_rows import harmless

from tests.lab.service import Service
from tests.web.history import a_full_run, set_plan, submit
from tests.web.serving import served_page
from tests.web.test_pages import SAME_SITE, text_of

RUNS = "query($first: Int!) { runs(first: $first) { nodes { id startedAt } } }"
OPEN = "{ breaches(status: [OPEN]) { nodes { id reference count } } }"
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=30) as client:
        yield client


def run_ids(page: str) -> list[str]:
    return re.findall(r'href="/runs/([0-9a-f-]{36})"', page)


def test_the_table_pages_through_every_run_once(client: httpx.Client, lived_in: Service) -> None:
    expected = [node["id"] for node in lived_in.query(RUNS, {"first": 500})["runs"]["nodes"]]
    found: list[str] = []
    address: str | None = "/runs"
    while address:
        page = client.get(address).text
        found += run_ids(page)
        older = re.search(r'<a href="([^"]+)" rel="next"', page)
        address = unescape(older[1]) if older else None
    assert found == expected


def test_the_table_is_filtered_and_names_failures(client: httpx.Client) -> None:
    page = client.get("/runs", params={"outcome": "OUTAGE"})
    assert len(run_ids(page.text)) == 3
    text = text_of(page)
    assert "no network" in text
    assert "line down" in text
    assert client.get("/runs", params={"probe": "nobody"}).status_code == 200
    assert run_ids(client.get("/runs", params={"outcome": "x'--", "since": "soon"}).text)


def test_one_run_says_all_but_the_address(client: httpx.Client, lived_in: Service) -> None:
    (newest,) = lived_in.query(RUNS, {"first": 1})["runs"]["nodes"]
    page = client.get(f"/runs/{newest['id']}")
    text = text_of(page)
    assert "ookla" in text
    assert "Front Range Net, Denver, CO" in text
    assert "of 940" in text
    assert "5f1d5f1d" not in page.text
    assert "Delete this run" not in text


def test_an_unknown_run_or_breach_is_not_found(client: httpx.Client) -> None:
    assert client.get("/runs/00000000-0000-4000-8000-000000000000").status_code == 404
    assert client.get("/breaches/nowhere").status_code == 404


def test_only_an_admin_deletes_and_only_with_a_reason(empty: Service) -> None:
    set_plan(empty)
    run = a_full_run(1, 0.9)
    submit(empty, [run, a_full_run(2, 0.9)])
    path = f"/runs/{run['id']}"
    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=30) as client:
        refused = client.post(f"{path}/delete", data={"reason": "x"})
        assert refused.headers["location"].startswith("/login")
        client.post("/login", data={"key": empty.keys["admin"]})
        assert client.post(f"{path}/delete", data={"reason": " "}).status_code == 400
        done = client.post(f"{path}/delete", data={"reason": "A neighbour's cable"})
        assert done.headers["location"] == "/runs?done=deleted"
        gone = client.get(path)
        assert gone.status_code == 410
        assert "operator deleted it" in text_of(gone)
        assert "A neighbour's cable" in text_of(gone)
        assert run["id"] not in run_ids(client.get("/runs").text)


def test_the_letters_of_a_breach_are_for_admins(client: httpx.Client, lived_in: Service) -> None:
    (breach,) = lived_in.query(OPEN)["breaches"]["nodes"]
    address = f"/breaches/{breach['id']}"
    public = client.get(address)
    assert breach["reference"] in text_of(public)
    assert "written, waits for approval" in text_of(public)
    assert "isp.example" not in public.text
    assert len(run_ids(public.text)) == breach["count"]
    client.post("/login", data={"key": lived_in.keys["admin"]})
    text = text_of(client.get(address))
    assert "support@isp.example" in text
    assert "please check the line" in text
    assert "Approve and send" in text


def test_the_evidence_is_every_measurement_of_the_breach(
    client: httpx.Client, lived_in: Service
) -> None:
    (breach,) = lived_in.query(OPEN)["breaches"]["nodes"]
    answer = client.get(f"/breaches/{breach['id']}/runs.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == breach["count"] * 4
    assert breach["reference"] in answer.headers["content-disposition"]
    evidence = client.get(f"/breaches/{breach['id']}/evidence.json").json()
    assert {run["id"] for run in evidence["runs"]} == {row["run_id"] for row in rows}
    assert "5f1d5f1d" not in json.dumps(evidence)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless("ok") == "ok"


def test_the_export_is_every_run(client: httpx.Client, lived_in: Service) -> None:
    stored = {node["id"] for node in lived_in.query(RUNS, {"first": 500})["runs"]["nodes"]}
    rows = csv.DictReader(io.StringIO(client.get("/runs.csv").text))
    assert {row["run_id"] for row in rows} == stored
    runs = client.get("/runs.json").json()
    assert {run["id"] for run in runs} == stored
    assert client.get("/runs.json", params={"probe": "nobody"}).json() == []


def test_the_feed_has_an_entry_a_breach(client: httpx.Client, lived_in: Service) -> None:
    (breach,) = lived_in.query(OPEN)["breaches"]["nodes"]
    answer = client.get("/feed.atom")
    feed = ElementTree.fromstring(answer.text)  # noqa: S314 - our own feed
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")]
    assert f"urn:speedtrap:breach:{breach['id']}" in ids
    again = client.get("/feed.atom", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_an_admin_silences_a_probe_for_a_while(empty: Service) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(1, 0.9)])
    form = {"probe": "laptop", "for": "7d", "reason": "Moving house", "next": "/"}
    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=30) as client:
        assert client.post("/silence", data=form).headers["location"].startswith("/login")
        client.post("/login", data={"key": empty.keys["admin"]})
        assert client.post("/silence", data=form).headers["location"] == "/?done=silence"
        assert "Moving house" in text_of(client.get("/"))
        client.post("/silence", data={**form, "for": "end"})
        assert "Moving house" not in text_of(client.get("/"))
        assert client.post("/silence", data={**form, "for": "ever"}).status_code == 400


def test_a_page_seen_before_is_kept_while_graph_is_away(empty: Service) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(1, 0.9)])
    with served_page(empty.base_url, key=empty.keys["viewer"]) as page:
        assert httpx.get(page).status_code == 200
        empty.stop()
        kept = httpx.get(page)
        assert kept.status_code == 200
        assert "The service that keeps the runs does not answer." in kept.text
        assert kept.text.count('class="tile ') == 6
        assert httpx.get(f"{page}/runs").status_code == 503
        assert httpx.get(page, headers={"Accept-Language": "de"}).status_code == 200
