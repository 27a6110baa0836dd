"""Logging out ends the session, not only this browser's copy of its cookie."""

from pathlib import Path

import httpx
import pytest
from speedtrap_web.http.ended_sessions import MOST_ENDED, EndedSessions

from tests.lab.service import Service
from tests.web.serving import served_page

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
FOR_ADMINS = "/notices/1"


def log_in(page: str, key: str) -> str:
    answer = httpx.post(f"{page}/login", data={"key": key}, headers=SAME_SITE, timeout=30)
    return answer.headers["set-cookie"].split(";")[0]


def is_logged_in(page: str, cookie: str) -> bool:
    answer = httpx.get(f"{page}{FOR_ADMINS}", headers={"Cookie": cookie}, timeout=30)
    assert answer.status_code in {404, 303}
    return answer.status_code == 404


def spelled_otherwise(cookie: str) -> str:
    """The same sealed bytes in another text: whoever decodes base64 passes over what is none."""
    name, _, sealed = cookie.partition("=")
    sealed = sealed.strip('"')
    return f"{name}={sealed[:8]}*{sealed[8:]}"


def log_out(page: str, cookie: str) -> None:
    httpx.post(f"{page}/logout", headers={"Cookie": cookie, **SAME_SITE}, timeout=30)


def test_a_copied_cookie_does_not_outlive_logout_and_other_sessions_do(lived_in: Service) -> None:
    page, key = lived_in.base_url, lived_in.keys["admin"]
    cookie, other = log_in(page, key), log_in(page, key)
    assert is_logged_in(page, cookie)
    assert is_logged_in(page, spelled_otherwise(cookie))
    log_out(page, cookie)
    assert not is_logged_in(page, cookie)
    assert not is_logged_in(page, spelled_otherwise(cookie))
    assert is_logged_in(page, other)


def test_a_logout_holds_after_a_restart_and_in_another_copy(
    lived_in: Service, tmp_path: Path
) -> None:
    key, file = lived_in.keys["admin"], tmp_path / "ended"
    graph, viewer = lived_in.base_url, lived_in.keys["viewer"]
    with (
        served_page(graph, key=viewer, ended_sessions_file=file) as one,
        served_page(graph, key=viewer, ended_sessions_file=file) as another,
    ):
        cookie = log_in(one, key)
        assert is_logged_in(another, cookie)
        log_out(one, cookie)
        assert not is_logged_in(another, cookie)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in file.read_text()
    with served_page(graph, key=viewer, ended_sessions_file=file) as restarted:
        assert not is_logged_in(restarted, cookie)


def an_id(number: int) -> str:
    return f"{number:032x}"


def test_what_is_kept_is_bounded_and_goes_when_its_cookie_has_expired(tmp_path: Path) -> None:
    now = [1000.0]
    ended = EndedSessions(tmp_path / "ended", now=lambda: now[0])
    ended.add(an_id(0), 1010)
    assert an_id(0) in ended
    now[0] = 1010.0
    assert an_id(0) not in ended
    for number in range(1, 50):
        ended.add(an_id(number), 2000 + number)
    (tmp_path / "ended").write_text(
        "".join(f"{an_id(number)} {2000 + number}\n" for number in range(2 * MOST_ENDED))
    )
    assert an_id(2 * MOST_ENDED - 1) in ended
    ended.add(an_id(3 * MOST_ENDED), 2000 + 3 * MOST_ENDED)
    lines = (tmp_path / "ended").read_text().splitlines()
    assert len(lines) <= MOST_ENDED
    again = EndedSessions(tmp_path / "ended", now=lambda: now[0])
    assert an_id(3 * MOST_ENDED) in again


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"half-a-li", b"x" * 5_000_000])
def test_a_damaged_file_ends_no_service_and_what_can_be_read_of_it_holds(
    tmp_path: Path, damage: bytes
) -> None:
    file = tmp_path / "ended"
    file.write_bytes(f"{an_id(1)} 2000\n".encode() + damage)
    ended = EndedSessions(file, now=lambda: 1000.0)
    assert an_id(1) in ended
    ended.add(an_id(2), 2000)
    assert an_id(2) in ended


def test_a_file_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "ended").mkdir()
    ended = EndedSessions(tmp_path / "ended", now=lambda: 1000.0)
    ended.add(an_id(1), 2000)
    assert an_id(1) in ended
