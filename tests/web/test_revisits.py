"""Coming again: a page that would be the same is not sent again, and one that would not be, is."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import expect
from speedtrap_web.http.freshness import LONGEST, Freshness
from speedtrap_web.views.line.banners import banners
from speedtrap_web.views.line.ranges import choose
from speedtrap_web.views.probes import probe_lines
from speedtrap_web.views.words import Words, zone_of

from tests.lab.browser import reader, running_browser
from tests.lab.mongo import Mongod
from tests.lab.service import Service
from tests.web.builders import NOW, a_plan, a_probe, words
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit
from tests.web.serving import Passage, served_page
from tests.web.stages import things_of
from tests.web.test_pages import SAME_SITE, text_of

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PAGES = (
    "/", "/?range=24h", "/?range=all&metric=latency", "/?since={yesterday}&until={today}",
    "/runs?until={today}", "/runs/{run}", "/breaches", "/breaches/{breach}", "/report",
    "/report.pdf", "/breaches/{breach}/evidence.pdf",
)  # fmt: skip
SET_RULE = "mutation($rule: RuleInput!) { setRule(rule: $rule) { id } }"
SILENCE = (
    'mutation($until: DateTime!) { silence(probe: "laptop", until: $until, reason: "w") { by } }'
)


class Clock:
    """Twenty past an hour, and what a test adds: no whole hour passes while it runs."""

    def __init__(self) -> None:
        self.start = datetime.now(UTC).replace(minute=20, second=0)
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return self.start + self.ahead


@pytest.fixture(scope="module")
def things(lived_in: Service) -> dict[str, str]:
    return things_of(lived_in)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def copies(lived_in: Service, clock: Clock) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two of the page's service in front of one graph: they share the clock and no memory."""
    key = lived_in.keys["viewer"]
    with ExitStack() as stack:
        urls = (
            stack.enter_context(served_page(lived_in.base_url, clock, key=key)) for _ in range(2)
        )
        one, other = (stack.enter_context(httpx.Client(base_url=url, timeout=60)) for url in urls)
        yield one, other


def again(client: httpx.Client, path: str, tag: str, **headers: str) -> httpx.Response:
    return client.get(path, headers={"If-None-Match": tag, **headers})


@pytest.mark.parametrize("path", [path for path in PAGES if "all" not in path])
def test_a_revisit_minutes_later_is_told_that_nothing_has_changed(
    copies: tuple[httpx.Client, httpx.Client], clock: Clock, things: dict[str, str], path: str
) -> None:
    one, other = copies
    path = path.format(**things)
    tag = one.get(path).raise_for_status().headers["etag"]
    for minutes in (7, 35):
        clock.ahead = minutes * MINUTE
        answer = again(one, path, tag)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        # A copy that has never made this page makes it, and finds that it is the same.
        assert again(other, path, tag).status_code == 304


def test_nothing_but_the_mark_is_asked_for_a_page_that_is_the_same(
    lived_in: Service, clock: Clock
) -> None:
    with (
        Passage.to(lived_in.base_url) as passage,
        served_page(passage.url, clock, key=lived_in.keys["viewer"]) as page,
        httpx.Client(base_url=page, timeout=60) as client,
    ):
        tag = client.get("/").headers["etag"]
        passage.asked.clear()
        clock.ahead = 12 * MINUTE
        assert again(client, "/", tag).status_code == 304
        assert passage.asked == ["changes"]


@pytest.mark.parametrize("path", PAGES)
def test_whenever_a_page_is_said_to_be_the_same_it_is(
    copies: tuple[httpx.Client, httpx.Client], clock: Clock, things: dict[str, str], path: str
) -> None:
    """Whatever time makes of it: hours and days begin, ranges move on, the probe falls silent."""
    remembering, making = copies
    path = path.format(**things)
    tag = remembering.get(path).headers["etag"]
    for ahead in (41 * MINUTE, 4 * HOUR + 9 * MINUTE, 26 * HOUR, 400 * DAY):
        clock.ahead = ahead
        answer, made = again(remembering, path, tag), making.get(path)
        assert answer.headers["etag"] == made.headers["etag"]
        assert answer.status_code == (304 if made.headers["etag"] == tag else 200)
        tag = made.headers["etag"]


def test_each_change_is_sent(empty: Service) -> None:
    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=60) as client:
        set_plan(empty)
        submit(empty, [a_full_run(hours_ago, 0.3) for hours_ago in range(7, 0, -1)])
        until = (datetime.now(UTC) + DAY).isoformat()
        rule = {"metric": "DOWNLOAD", "belowRatio": 0.4, "moreThan": 5}
        changes: dict[str, Callable[[], object]] = {
            "a run": lambda: submit(empty, [a_full_run(0.1, 0.3)]),
            "a run of last month": lambda: submit(empty, [a_full_run(600, 0.9)]),
            "a notice": lambda: plan_a_notice(empty),
            "a silence": lambda: empty.query(SILENCE, {"until": until}),
            "a rule": lambda: empty.query(SET_RULE, {"rule": rule}),
            "a plan": lambda: set_plan(empty, downloadMbps=1000),
            "another clock": lambda: set_plan(empty, timeZone="Europe/Berlin"),
        }
        tag = client.get("/").headers["etag"]
        for name, change in changes.items():
            assert again(client, "/", tag).status_code == 304, name
            change()
            answer = again(client, "/", tag)
            assert answer.status_code == 200, name
            tag = answer.headers["etag"]


def test_another_reader_is_sent_a_page_of_their_own(lived_in: Service) -> None:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=60) as client:
        tag = client.get("/").headers["etag"]
        spanish = again(client, "/", tag, **{"Accept-Language": "es"})
        assert spanish.status_code == 200
        assert '<html lang="es"' in spanish.text
        assert again(client, "/", tag).status_code == 304
        client.post("/login", data={"key": lived_in.keys["admin"]})
        admins = again(client, "/", tag)
        assert admins.status_code == 200
        assert "Logged in as operator" in text_of(admins)
        assert again(client, "/", admins.headers["etag"]).status_code == 304
        client.post("/logout")
        assert again(client, "/", admins.headers["etag"]).status_code == 200


def test_a_probe_that_falls_silent_is_told(empty: Service, mongod: Mongod) -> None:
    """Nothing new arrives then: that is what it means."""
    set_plan(empty)
    submit(empty, [a_full_run(hours_ago, 0.95) for hours_ago in range(12, 0, -1)])
    in_two_seconds = datetime.now(UTC) + timedelta(seconds=2) - 15 * MINUTE
    with mongod.client() as database, httpx.Client(base_url=empty.base_url, timeout=60) as client:
        probes = database[empty.settings["SPEEDTRAP_GRAPH_DATABASE"]]["probes"]
        seen = datetime.now(UTC) - 70 * MINUTE
        probes.update_one({}, {"$set": {"last_seen_at": seen, "next_run_at": in_two_seconds}})
        first = client.get("/")
        assert "has been silent for" not in text_of(first)
        tag, deadline = first.headers["etag"], time.monotonic() + 60
        while (answer := again(client, "/", tag)).status_code == 304:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "Probe laptop has been silent for 1 hour ." in text_of(answer)


@pytest.mark.parametrize(
    ("quiet", "said", "lasts"),
    [
        (29 * MINUTE, "20 minutes", MINUTE),
        (59 * MINUTE, "50 minutes", MINUTE),
        (5 * HOUR + 20 * MINUTE, "5 hours", 40 * MINUTE),
        (47 * HOUR + 59 * MINUTE, "47 hours", MINUTE),
        (2 * DAY + 23 * HOUR, "2 days", HOUR),
    ],
)
def test_a_silence_is_told_coarsely_and_until_when_it_is_so_long(
    quiet: timedelta, said: str, lasts: timedelta
) -> None:
    moments = {"last_seen_at": NOW - quiet, "expected_at": NOW - quiet, "silent_at": NOW - quiet}
    probe = a_probe(**moments, silent=True)
    reading = words()
    (notice,) = banners(probe, choose("30d", NOW, reading.zone, NOW - 60 * DAY), reading)
    assert f">{said}<" in notice.text
    assert reading.freshness.until == NOW + lasts
    (line,) = probe_lines([probe], words())
    assert f">{said}<" in line.state


def test_a_page_lasts_until_what_it_tells_of_begins_or_ends() -> None:
    def lasts(**changes: object) -> timedelta:
        freshness = Freshness(NOW)
        reading = Words(words().catalogue, zone_of(a_plan()), freshness)
        span = choose("30d", NOW, reading.zone, NOW - 60 * DAY)
        banners(a_probe(**{"silent_at": NOW + DAY, **changes}), span, reading)
        return freshness.until - NOW

    soon = NOW + 11 * MINUTE
    assert lasts() == LONGEST
    assert lasts(silent_at=soon) == 11 * MINUTE
    assert lasts(plans=[a_plan(since=soon), a_plan()]) == 11 * MINUTE
    assert lasts(silence={"until": soon, "reason": "moving", "by": "me"}) == 11 * MINUTE


@pytest.mark.browser
def test_the_script_says_how_long_ago_it_is_and_keeps_saying_it(lived_in: Service) -> None:
    with running_browser() as browser:
        for locale, ago, hours in (("en-GB", "ago", "hours ago"), ("es-ES", "hace", "horas")):
            with reader(browser, locale=locale) as page:
                page.clock.install()
                page.goto(lived_in.base_url)
                last = page.locator(".tile").last.locator("time")
                expect(last).to_contain_text(ago)
                moment = last.get_attribute("title")
                assert moment is not None
                expect(page.locator("#last-title + p time")).to_contain_text(f"{moment} (")
                page.clock.fast_forward("04:56:00")
                page.clock.run_for(31_000)
                expect(last).to_contain_text(hours)
            with reader(browser, locale=locale, scripts=False) as page:
                page.goto(lived_in.base_url)
                expect(page.locator(".tile").last.locator("time")).to_have_text(moment)
