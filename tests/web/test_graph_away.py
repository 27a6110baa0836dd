"""graph stopped, slow, broken or refusing: the page says so, and never more than that."""

import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.lab.mongo import free_port
from tests.lab.nginx import Gateway
from tests.lab.service import Service
from tests.web.serving import Mode, Passage, a_graph_that_answers, served, served_page
from tests.web.stages import session_cookie, things_of

SPANISH = {"Accept-Language": "es"}
AWAY = "The service that keeps the runs does not answer."


def assert_says_away(page_url: str, reason: str) -> None:
    page = httpx.get(page_url, timeout=30)
    assert page.status_code == 503
    assert AWAY in page.text
    assert reason in page.text
    assert "Traceback" not in page.text
    assert page.headers["retry-after"] == "10"
    assert page.headers["cache-control"] == "no-store"
    question = httpx.get(f"{page_url}/api/q/changes", timeout=30)
    assert question.status_code == 503
    assert question.json()["error"]["code"] == "UNAVAILABLE"


def test_graph_stopped() -> None:
    with served_page(f"http://127.0.0.1:{free_port()}") as page:
        assert_says_away(page, "is not reachable")


def test_graph_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with served_page(f"http://127.0.0.1:{port}", graph_timeout_s=0.3) as page:
            assert_says_away(page, "did not answer in time")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (502, "bad gateway", "no GraphQL response"),
        (503, {"ready": False, "problem": "MongoDB does not answer"}, "status 503"),
        (500, {}, "status 500"),
        (200, {"data": None}, "status 200"),
        (
            200,
            {"errors": [{"message": "internal, 4f2a", "extensions": {"code": "INTERNAL"}}]},
            "4f2a",
        ),
        (200, [], "no GraphQL response"),
    ],
)
def test_graph_broken(status: int, body: object, reason: str) -> None:
    with (
        served(a_graph_that_answers(status, body)) as graph,
        served_page(graph) as page,
    ):
        assert_says_away(page, reason)


def test_the_pages_own_key_refused() -> None:
    refusal = {"error": {"code": "UNAUTHENTICATED", "message": "unknown key"}}
    with served(a_graph_that_answers(401, refusal)) as graph, served_page(graph) as page:
        answer = httpx.get(page)
        assert answer.status_code == 503
        assert "SPEEDTRAP_WEB_KEY" in answer.text
        assert "the-page" not in answer.text


def test_an_answer_of_another_shape_is_no_traceback() -> None:
    strange = {"data": {"changes": "1-a", "probes": [{"name": "laptop"}]}}
    with served(a_graph_that_answers(200, strange)) as graph, served_page(graph) as page:
        answer = httpx.get(page)
        assert answer.status_code == 503
        assert "Traceback" not in answer.text


def test_login_while_graph_is_away_says_so() -> None:
    with served_page(f"http://127.0.0.1:{free_port()}") as page:
        headers = {"Sec-Fetch-Site": "same-origin"}
        answer = httpx.post(f"{page}/login", data={"key": "some-key"}, headers=headers)
        assert answer.status_code == 503
        assert AWAY in answer.text


PAGES = (
    "/", "/?range=24h&metric=latency", "/runs", "/runs/{run}", "/breaches", "/breaches/{breach}",
    "/report",
)  # fmt: skip
NEVER_KEPT = (
    "/?range=1y", "/report.pdf", "/breaches/{breach}/evidence.pdf", "/breaches/{breach}/runs.csv",
    "/breaches/{breach}/evidence.json", "/runs.csv", "/runs.json", "/feed.atom",
)  # fmt: skip
"""A page that nobody has seen yet, and what is made for one reader at a time."""
REASONS: dict[Mode, str] = {
    "away": "status 502",
    "unready": "status 503",
    "slow": "did not answer in time",
    "broken": "inside, 4f2a",
}
STALE = re.compile(r'<p class="banner warn" role="status" id="stale">.*?</p>', re.DOTALL)


class Clock:
    """The page's clock; the test puts it on."""

    ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def all_at_once(client: httpx.Client, paths: Sequence[str]) -> list[httpx.Response]:
    """So that a graph that is slow is waited for once."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(client.get, paths))


def assert_keeps(
    client: httpx.Client, paths: Sequence[str], pages: Sequence[str], age: str
) -> None:
    """Each page is shown as it was, and says what it is."""
    for path, known, kept in zip(paths, pages, all_at_once(client, paths), strict=True):
        assert kept.status_code == 200, path
        assert f"{AWAY} This is what was known {age}." in kept.text
        assert STALE.sub("", kept.text).split() == known.replace("<!--stale-->", "").split()
        assert kept.headers["cache-control"] == "no-store"
        assert "etag" not in kept.headers


def seen(client: httpx.Client, paths: Sequence[str]) -> list[str]:
    return [client.get(path).raise_for_status().text for path in paths]


@pytest.mark.parametrize("mode", REASONS)
def test_what_was_known_is_shown_until_graph_is_back(lived_in: Service, mode: Mode) -> None:
    things, clock = things_of(lived_in), Clock()
    paths = [path.format(**things) for path in PAGES]
    with (
        Passage.to(lived_in.base_url) as passage,
        served_page(passage.url, clock, key=lived_in.keys["viewer"], graph_timeout_s=4) as page,
        httpx.Client(base_url=page, timeout=60) as client,
    ):
        pages = seen(client, paths)
        passage.mode = mode
        assert_keeps(client, paths, pages, "just now")
        clock.ahead = timedelta(hours=3, minutes=1)
        assert_keeps(client, paths, pages, "3 hours ago")
        assert 3 * 3600 < int(client.get("/").headers["age"]) < 4 * 3600
        spanish = client.get("/", headers={"Accept-Language": "es"})
        assert spanish.status_code == 503
        never = [path.format(**things) for path in NEVER_KEPT]
        for path, answer in zip(never, all_at_once(client, never), strict=True):
            assert answer.status_code == 503, path
            assert AWAY in answer.text
            assert REASONS[mode] in answer.text
            assert answer.headers["retry-after"] == "10"
        passage.mode = "open"
        for path in paths:
            assert "This is what was known" not in client.get(path).raise_for_status().text


@pytest.mark.parametrize("mode", ["away", "unready", "broken"])
def test_a_kept_page_says_so_in_the_readers_language_and_to_that_reader_only(
    lived_in: Service, mode: Mode
) -> None:
    clock = Clock()
    with (
        Passage.to(lived_in.base_url) as passage,
        served_page(passage.url, clock, key=lived_in.keys["viewer"]) as page,
        httpx.Client(base_url=page, timeout=60, headers=SPANISH) as client,
    ):
        session = {"Cookie": f"speedtrap={session_cookie(page, lived_in.keys['admin'])}"}
        client.get("/runs").raise_for_status()
        client.get("/breaches", headers=session).raise_for_status()
        passage.mode, clock.ahead = mode, timedelta(days=3)
        assert "Esto es lo que se sabía hace 3 días." in client.get("/runs").text
        admins = client.get("/breaches", headers=session)
        assert "Sesión de operator" in admins.text
        assert client.get("/breaches").status_code == 503
        # What is never kept needs an answer: a decision is not shown as it was.
        for path in ("/settings/sending", "/settings/probes", "/settings/plan"):
            assert client.get(path, headers=session).status_code == 503


def test_through_the_gateway_it_is_the_same(lived_in: Service, tmp_path: Path) -> None:
    """The reader's road to the page and the page's road to graph both lead through it."""
    things, clock, port = things_of(lived_in), Clock(), free_port()
    paths = [path.format(**things) for path in PAGES]
    speed = tmp_path / "speed"
    speed.mkdir()
    with ExitStack() as road:
        way = ExitStack()
        passage = way.enter_context(Passage.to(lived_in.base_url))
        road.enter_context(way)
        passage.key = lived_in.keys["viewer"]
        gateway = Gateway(tmp_path, passage.url, f"http://127.0.0.1:{port}", speed)
        gateway.write_keys({"the-page's-own-key-behind-a-gateway": "page:viewer"})
        page = served_page(
            gateway.internal_url, clock, port, key="the-page's-own-key-behind-a-gateway"
        )
        road.enter_context(page)
        gateway.start()
        road.callback(gateway.stop)
        client = road.enter_context(httpx.Client(base_url=gateway.url, timeout=60))
        pages = seen(client, paths)
        modes: tuple[Mode, ...] = ("unready", "broken")
        for mode in modes:
            passage.mode = mode
            assert_keeps(client, paths, pages, "just now")
            never = client.get("/report.pdf")
            assert never.status_code == 503
            assert REASONS[mode] in never.text
        clock.ahead = timedelta(hours=5)
        assert_keeps(client, paths, pages, "5 hours ago")
        way.close()
        assert_keeps(client, paths, pages, "5 hours ago")
        assert "status 502" in client.get("/report.pdf").text
