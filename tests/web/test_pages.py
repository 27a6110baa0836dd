"""The pages of a line with a history, as they come from the server: no script needed."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.lab.service import Service
from tests.web.history import PLAN, a_full_run, set_plan, submit

WEB = Path(__file__).parents[2] / "web/speedtrap_web"
CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=30) as client:
        yield client


def text_of(response: httpx.Response) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def test_the_overview_answers_the_question(client: httpx.Client) -> None:
    page = client.get("/", params={"range": "7d"})
    text = text_of(page)
    assert page.status_code == 200
    assert "Contoso Fibre · 940 Mbps down, 940 Mbps up" in text
    assert "Right now: 7 runs in a row below 50" in text
    assert "Mail, complaint: written, waits for approval" in text
    assert page.text.count('class="tile ') == 6


def test_the_numbers_are_those_of_graph(client: httpx.Client, lived_in: Service) -> None:
    since, until = "2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
    document = (
        "query($s: DateTime!, $u: DateTime!) {"
        ' serviceReport(probe: "laptop", since: $s, until: $u) { n medianMbps belowCount } }'
    )
    report = lived_in.query(document, {"s": since, "u": until})["serviceReport"]
    text = text_of(client.get("/", params={"range": "all"}))
    assert f"n = {report['n']} runs" in text
    assert f"{report['medianMbps']:.0f} of 940 Mbps" in text
    assert f"{report['belowCount']} of " in text


def test_a_tool_alone_below_the_rule_is_a_finding_and_no_breach(empty: Service) -> None:
    set_plan(empty)
    runs = [a_full_run(hours_ago, 0.97) for hours_ago in range(8, 0, -1)]
    for run in runs:
        run["measurements"][2]["downloadMbps"] = 210.0
    submit(empty, runs)
    text = text_of(httpx.get(empty.base_url))
    assert "fast: 8 runs in a row below the rule since" in text
    assert "Its median was 210 Mbps; meanwhile ookla 912 Mbps, speedtest-cli 729 Mbps." in text
    assert "None recorded." in text
    assert "fast is slow where ookla is fine" in text


def test_every_range_is_an_address_of_its_own(client: httpx.Client) -> None:
    page = client.get("/")
    links = re.findall(r'href="(/\?[^"]+)"', page.text)
    queries = [parse_qs(urlsplit(unescape(link)).query) for link in links if "#" not in link]
    ranges = [query["range"][0] for query in queries]
    assert ranges == ["24h", "7d", "30d", "90d", "1y", "all"]
    for link in links:
        assert client.get(unescape(link)).status_code == 200


def test_an_unknown_range_or_probe_shows_the_usual_one(client: httpx.Client) -> None:
    page = client.get("/", params={"range": "<script>", "probe": "'--"})
    assert page.status_code == 200
    assert "the last 30 days" in page.text.lower()
    assert "<script>'" not in page.text


def test_gaps_and_outages_stand_in_the_table(client: httpx.Client) -> None:
    rows = re.findall(r"<tr><th scope=\"row\"><time.*?</tr>", client.get("/?range=7d").text)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert ["\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}", "0", "0", "0", "0"] in cells
    assert sum(int(row[5]) for row in cells) == 3


def test_a_public_page_names_no_address_key_or_recipient(
    client: httpx.Client, lived_in: Service
) -> None:
    page = client.get("/").text + client.get("/api/q/changes").text
    assert "5f1d5f1d" not in page
    assert "isp.example" not in page
    assert not any(key in page for key in lived_in.keys.values())


def test_the_pages_script_gets_its_numbers(client: httpx.Client) -> None:
    query = {"probe": "laptop", "since": "2026-11-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    answer = client.get("/api/q/history", params={**query, "buckets": "10", "points": "20"})
    assert answer.status_code == 200
    assert len(answer.json()["trend"]["t"]) == 10
    assert len(answer.json()["detail"]["t"]) == 20


def test_an_unchanged_answer_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/api/q/changes")
    again = client.get("/api/q/changes", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/api/q/notice?id=1", "operation: notice is not one; allowed: breach, breaches, changes"),
        ("/api/q/setPlan", "operation: setPlan is not one"),
        ("/api/q/history?probe=laptop", "since: is missing"),
        ("/api/q/changes?query=%7Bme%7D", "query: no such variable"),
        (
            "/api/q/history?probe=laptop&since=yesterday&until=2026-11-01T00:00:00Z",
            "DateTime must be a date and time with an offset",
        ),
    ],
)
def test_a_bad_question_is_refused_in_json(client: httpx.Client, path: str, problem: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


def test_an_unknown_page_is_a_page(client: httpx.Client) -> None:
    page = client.get("/nowhere")
    assert page.status_code == 404
    assert "There is no such page." in text_of(page)


def test_files_are_kept_for_ever_and_pages_are_asked_for_again(client: httpx.Client) -> None:
    page = client.get("/")
    style = re.search(r'href="(/assets/[^"]+page\.css)"', page.text)
    assert style is not None
    assert "immutable" in client.get(style[1]).headers["cache-control"]
    assert page.headers["cache-control"] == "private, no-cache"


def test_every_answer_has_the_headers_that_protect(client: httpx.Client) -> None:
    for path in ("/", "/login", "/nowhere", "/api/q/changes"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in headers


def test_no_template_holds_script_or_style() -> None:
    for file in (WEB / "templates").glob("*.html"):
        source = file.read_text(encoding="utf-8")
        assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", source) == []


def test_a_change_from_another_site_is_refused(client: httpx.Client, lived_in: Service) -> None:
    for headers in (CROSS_SITE, {"Sec-Fetch-Site": "same-site"}):
        answer = client.post("/login", data={"key": lived_in.keys["admin"]}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_an_older_browser_is_judged_by_its_origin(lived_in: Service) -> None:
    form = {"key": lived_in.keys["admin"]}
    other_scheme = lived_in.base_url.replace("http://", "https://")
    for origin, status in (
        (lived_in.base_url, 303), ("http://evil.example", 403), (other_scheme, 403), ("null", 403)
    ):  # fmt: skip
        answer = httpx.post(f"{lived_in.base_url}/login", data=form, headers={"Origin": origin})
        assert answer.status_code == status
    assert httpx.post(f"{lived_in.base_url}/login", data=form).status_code == 403


def test_the_session_cookie_is_sealed(client: httpx.Client, lived_in: Service) -> None:
    answer = client.post("/login", data={"key": lived_in.keys["admin"]})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert lived_in.keys["admin"] not in cookie


@pytest.mark.parametrize("role", ["viewer", "bot", "probe"])
def test_only_an_admins_key_logs_in(client: httpx.Client, lived_in: Service, role: str) -> None:
    answer = client.post("/login", data={"key": lived_in.keys[role]})
    assert answer.status_code == 403
    assert "approving needs an admin key" in text_of(answer)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("target", "landing"),
    [
        ("/settings/plan", "/settings/plan"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
    ],
)
def test_after_the_login_nobody_is_sent_elsewhere(
    client: httpx.Client, lived_in: Service, target: str, landing: str
) -> None:
    answer = client.post("/login", data={"key": lived_in.keys["admin"], "next": target})
    assert answer.headers["location"] == landing


@pytest.mark.parametrize("path", ["/settings/plan", "/notices/1", "/notices/1/letter"])
def test_admins_pages_ask_for_a_login(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?why=needed")


def test_a_plan_that_cannot_be_is_refused_beside_its_field(
    client: httpx.Client, lived_in: Service
) -> None:
    client.post("/login", data={"key": lived_in.keys["admin"]})
    form = {
        "provider": "",
        "download_mbps": "fast",
        "upload_mbps": "-1",
        "time_zone": "Mars/Olympus",
        "since": "tomorrow",
    }
    answer = client.post("/settings/plan", data=form)
    assert answer.status_code == 400
    for name in ("provider", "download_mbps", "upload_mbps", "time_zone"):
        assert f'id="{name}-problem"' in answer.text
    form = {**form, "provider": "x" * 5000, "download_mbps": "940", "upload_mbps": ""}
    answer = client.post("/settings/plan", data={**form, "time_zone": "UTC", "since": ""})
    assert answer.status_code == 400
    assert 'id="provider-problem"' in answer.text


def test_the_plan_page_knows_the_plans_so_far(client: httpx.Client, lived_in: Service) -> None:
    client.post("/login", data={"key": lived_in.keys["admin"]})
    text = text_of(client.get("/settings/plan"))
    assert f"{PLAN['provider']} every probe 940 Mbps down, 940 Mbps up" in text
    assert "From the first run on" in text


def test_logging_out_ends_the_session(client: httpx.Client, lived_in: Service) -> None:
    client.post("/login", data={"key": lived_in.keys["admin"]})
    assert "Logged in as operator" in text_of(client.get("/"))
    client.post("/logout")
    assert "Logged in as" not in text_of(client.get("/"))


def test_an_unknown_notice_is_not_found(client: httpx.Client, lived_in: Service) -> None:
    client.post("/login", data={"key": lived_in.keys["admin"]})
    assert client.get("/notices/nowhere").status_code == 404


def test_the_language_is_chosen_on_the_page_and_kept(client: httpx.Client) -> None:
    page = client.get("/runs", headers={"Accept-Language": "en"})
    link = re.search(r'href="(/language[^"]+)" lang="es"', page.text)
    assert link is not None
    back = client.get(unescape(link[1]), follow_redirects=True)
    assert back.url.path == "/runs"
    assert '<html lang="es"' in back.text
    assert "línea caída" in text_of(back)
    assert '<html lang="es"' in client.get("/", headers={"Accept-Language": "en"}).text
    assert client.get("/language?to=es&next=//evil.example").headers["location"] == "/"
    assert "set-cookie" not in client.get("/language?to=xx&next=/").headers
