"""The GraphQL explorer: off by default, for who is logged in, with that person's own key."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.lab.browser import log_in, reader
from tests.lab.service import Service
from tests.web.serving import served_page

pytestmark = pytest.mark.browser

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
ME = {"query": "{ me { name role } }"}


@pytest.fixture(scope="module")
def base_url(lived_in: Service) -> Iterator[str]:
    """The page with its explorer, in front of a graph that holds viewers to packaged documents."""
    with served_page(lived_in.base_url, key=lived_in.keys["viewer"], explorer=True) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, base_url: str, lived_in: Service) -> Iterator[Page]:
    """Logged in. Fails at its end if a policy was violated or another host was asked."""
    with reader(chromium) as page:
        log_in(page, base_url, lived_in.keys["admin"])
        yield page


@pytest.fixture
def client(base_url: str, lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, headers=SAME_SITE) as client:
        client.post("/login", data={"key": lived_in.keys["admin"]})
        yield client


def test_a_query_is_written_asked_and_answered(page: Page) -> None:
    page.get_by_role("link", name="GraphQL explorer").click()
    expect(page.get_by_role("heading", name="GraphQL explorer")).to_be_visible()
    page.locator(".graphiql-query-editor .CodeMirror").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("{ me { name role } }")
    page.get_by_role("button", name="Execute query (Ctrl-Enter)").click()
    answer = page.locator(".result-window")
    expect(answer).to_contain_text('"name": "operator"')
    expect(answer).to_contain_text('"role": "ADMIN"')


def test_the_schema_is_read_in_it_with_its_descriptions(page: Page, base_url: str) -> None:
    page.goto(f"{base_url}/explorer")
    page.get_by_role("button", name="Show Documentation Explorer").click()
    docs = page.locator(".graphiql-doc-explorer")
    docs.get_by_role("link", name="Subscription").click()
    docs.get_by_role("link", name="breaches").click()
    expect(docs).to_contain_text("Without gap or duplicate after a cursor")


def test_its_dialogs_open(page: Page, base_url: str) -> None:
    page.goto(f"{base_url}/explorer")
    page.get_by_role("button", name="Open settings dialog").click()
    expect(page.get_by_role("dialog")).to_contain_text("Theme")


def test_without_the_switch_there_is_none(lived_in: Service) -> None:
    for response in (
        httpx.get(f"{lived_in.base_url}/explorer"),
        httpx.post(f"{lived_in.base_url}/explorer/graphql", json=ME, headers=SAME_SITE),
    ):
        assert response.status_code == 404


def test_a_stranger_is_sent_to_the_login(base_url: str) -> None:
    page = httpx.get(f"{base_url}/explorer", headers=SAME_SITE)
    assert (page.status_code, page.headers["location"].split("?")[0]) == (303, "/login")
    answer = httpx.post(f"{base_url}/explorer/graphql", json=ME, headers=SAME_SITE)
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_another_site_cannot_ask_in_my_name(client: httpx.Client) -> None:
    forged = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/explorer/graphql", json=ME, headers=forged).status_code == 403
    assert client.post("/explorer/graphql", json=ME).json()["data"]["me"]["name"] == "operator"


def test_graphs_own_refusals_come_through(client: httpx.Client) -> None:
    answer = client.post("/explorer/graphql", json={"query": "{ nonsense }"})
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_INPUT"


def test_a_question_of_any_length_is_not_taken(client: httpx.Client) -> None:
    long = {"query": "#" * 300_000}
    assert client.post("/explorer/graphql", json=long).status_code == 413


def test_when_graph_is_away_it_says_so_in_json(lived_in: Service) -> None:
    with (
        served_page(
            "http://127.0.0.1:9", key="k" * 20, explorer=True, session_secret="s" * 40
        ) as url,
        served_page(
            lived_in.base_url, key=lived_in.keys["viewer"], session_secret="s" * 40
        ) as there,
        httpx.Client(headers=SAME_SITE) as client,
    ):
        client.post(f"{there}/login", data={"key": lived_in.keys["admin"]})
        answer = client.post(f"{url}/explorer/graphql", json=ME)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UNAVAILABLE"
