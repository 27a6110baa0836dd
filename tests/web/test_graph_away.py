"""graph stopped, slow, broken or refusing: the page says so, and never more than that."""

import socket
from typing import Literal

import httpx
import pytest

from tests.lab.mongo import free_port
from tests.lab.service import Service
from tests.web.serving import Passage, a_graph_that_answers, served, served_page

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


@pytest.mark.parametrize("mode", ["away", "slow", "broken"])
def test_what_was_known_is_shown_until_graph_is_back(
    lived_in: Service, mode: Literal["away", "slow", "broken"]
) -> None:
    with (
        Passage.to(lived_in.base_url) as passage,
        served_page(passage.url, key=lived_in.keys["viewer"], graph_timeout_s=2) as page,
    ):
        assert httpx.get(page, timeout=30).status_code == 200
        passage.mode = mode
        kept = httpx.get(page, timeout=30)
        assert kept.status_code == 200
        assert "This is what was known just now." in kept.text
        assert kept.text.count('class="tile ') == 6
        assert kept.headers["cache-control"] == "no-store"
        assert 0 <= int(kept.headers["age"]) < 60
        passage.mode = "open"
        assert "This is what was known" not in httpx.get(page, timeout=30).text
