"""Sessions: sealed, bound to the key, and slow to guess."""

from collections.abc import Iterator

import httpx
import pytest
from speedtrap_web.http.session import Session, Sessions, Throttle, own_path
from starlette.requests import Request
from starlette.responses import Response

from tests.lab.service import Service
from tests.web.serving import served_page


def a_request(cookie: str = "", scheme: str = "http") -> Request:
    headers = [(b"cookie", cookie.encode()), (b"host", b"speedtrap.example")]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": scheme,
            "path": "/",
            "headers": headers,
            "query_string": b"",
            "server": ("speedtrap.example", 80),
        }
    )


def sealed(sessions: Sessions, scheme: str = "http") -> str:
    response = Response()
    sessions.begin(a_request(scheme=scheme), response, Session("chris", "a-secret-key"))
    return response.headers["set-cookie"]


def test_a_session_comes_back_as_it_was() -> None:
    sessions = Sessions("s" * 32)
    cookie = sealed(sessions).split(";")[0]
    assert sessions.of(a_request(cookie)) == Session("chris", "a-secret-key")


def test_under_tls_the_cookie_is_bound_to_the_host() -> None:
    cookie = sealed(Sessions("s" * 32), "https")
    assert cookie.startswith("__Host-speedtrap=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_a_cookie_of_another_secret_is_no_session() -> None:
    cookie = sealed(Sessions("s" * 32)).split(";")[0]
    assert Sessions("t" * 32).of(a_request(cookie)) is None
    assert Sessions("s" * 32).of(a_request(cookie[:-4] + "AAAA")) is None
    assert Sessions("s" * 32).of(a_request("speedtrap=")) is None


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "/"),
        ("", "/"),
        ("/notices/1", "/notices/1"),
        ("//evil.example", "/"),
        ("/\\evil", "/"),
        ("javascript:x", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
    ],
)
def test_only_paths_of_this_site_are_followed(given: str | None, path: str) -> None:
    assert own_path(given) == path


def test_a_client_waits_after_too_many_failures_and_others_do_not() -> None:
    throttle = Throttle(most=2, window_s=60)
    throttle.failed("a")
    assert throttle.wait_s("a") == 0
    throttle.failed("a")
    assert throttle.wait_s("a") > 0
    assert throttle.wait_s("b") == 0
    throttle.succeeded("a")
    assert throttle.wait_s("a") == 0


@pytest.fixture
def page(lived_in: Service) -> Iterator[str]:
    """A page of its own, because failed logins are counted in its process."""
    with served_page(lived_in.base_url, key=lived_in.keys["viewer"]) as url:
        yield url


def test_guessing_keys_is_slowed_down(page: str, lived_in: Service) -> None:
    with httpx.Client(base_url=page, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        answers = [client.post("/login", data={"key": f"guess-{i}"}) for i in range(6)]
        right = client.post("/login", data={"key": lived_in.keys["admin"]})
    assert [answer.status_code for answer in answers] == [403, 403, 403, 403, 403, 429]
    assert int(answers[5].headers["retry-after"]) > 0
    assert right.status_code == 429


@pytest.mark.parametrize("key", ["", "\u00e9" * 20, "x" * 5000, "a\r\nX-Speedtrap-Caller: x:admin"])
def test_what_cannot_be_a_key_is_refused_here(page: str, key: str) -> None:
    answer = httpx.post(
        f"{page}/login", data={"key": key}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status_code in {400, 403}
    assert "set-cookie" not in answer.headers


def test_revoking_the_key_ends_the_session(lived_in: Service) -> None:
    extra = "a-second-key-of-the-operator"
    before = lived_in.keys_file.read_text(encoding="utf-8")
    headers = {"Sec-Fetch-Site": "same-origin"}
    try:
        lived_in.keys_file.write_text(f'{before}"{extra}" "second:admin";\n', encoding="utf-8")
        with httpx.Client(base_url=lived_in.base_url, headers=headers) as client:
            client.post("/login", data={"key": extra})
            assert client.get("/notices/1").status_code == 404
            lived_in.keys_file.write_text(before, encoding="utf-8")
            answer = client.get("/notices/1")
    finally:
        lived_in.keys_file.write_text(before, encoding="utf-8")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?why=expired")
    assert 'speedtrap=""' in answer.headers["set-cookie"]
