"""`Retry-After`: who asks to be left alone is left alone for so long, by every own client."""

from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path

import pytest
from speedtrap_probe.engine.limits import MOST_S, Limits, retry_after_s
from speedtrap_probe.errors import ToolError
from speedtrap_probe.files.database import Database
from speedtrap_probe.files.state import State
from speedtrap_probe.model import FailureKind

from tests.lab.speed import Manners, speed_server
from tests.probe.home import Home
from tests.probe.stages import CLIENTS, against, tool

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("120", 120.0),
        (" 3600 ", 3600.0),
        ("99999999999", MOST_S),
        (format_datetime(NOW + timedelta(minutes=5)), 300.0),
        (format_datetime(NOW + timedelta(days=400)), MOST_S),
        (format_datetime(NOW - timedelta(minutes=5)), 0.0),
        ("Mon, 30 Nov 2026 12:05:00 GMT", 300.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("²", None),
    ],
)
def test_seconds_and_dates_are_read_and_bounded(told: str, expected: float | None) -> None:
    headers = Message()
    headers["Retry-After"] = told
    assert retry_after_s(headers, NOW) == expected


def test_a_wait_is_over_when_it_is_over() -> None:
    kept = Limits()
    kept.keep("http://h.example:80", 0.0)
    assert kept.wait_s("http://h.example:80") == 0
    kept.keep("http://h.example:80", 60.0)
    assert 0 < kept.wait_s("http://h.example:80") <= 60
    assert kept.wait_s("http://other.example:80") == 0


@pytest.mark.parametrize("name", CLIENTS)
def test_a_server_that_named_an_hour_is_not_asked_again_within_it(name: str) -> None:
    with speed_server(Manners(status=429, tells=(("Retry-After", "3600"),))) as server:
        asked = []
        for _ in range(2):
            with pytest.raises(ToolError, match=r"limits requests.* again from ") as raised:
                tool(name).measure(against(name, server))
            assert raised.value.failure.kind is FailureKind.RATE_LIMITED
            asked.append(len(server.asked))
    assert asked[0] == asked[1] > 0


def test_a_later_process_knows_who_asked_to_be_left_alone(tmp_path: Path) -> None:
    state = State(Database(tmp_path / "state.sqlite3"))
    state.remember_limits(NOW, {"https://h.example:443": 3600.0, "https://over.example:443": 60.0})
    later = state.limits_s(NOW + timedelta(minutes=10))
    assert later == {"https://h.example:443": 3000.0}
    kept = Limits()
    kept.keep_all({**later, "https://wrong-clock.example:443": 1e9})
    waits = kept.waits_s()
    assert 2990 < waits["https://h.example:443"] <= 3000
    assert waits["https://wrong-clock.example:443"] <= MOST_S


def test_the_command_does_not_ask_again_what_asked_to_be_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with speed_server(Manners(status=429, tells=(("Retry-After", "3600"),))) as server:
        options = {"SPEEDTRAP_PROBE_LIBRESPEED_URL": f"{server.url}/speed/"}
        asked = []
        for _ in range(2):
            done = home.probe("run", "--tool", "librespeed", "--json", **options)
            assert "again from" in done.stdout
            asked.append(len(server.asked))
    assert asked[0] == asked[1] > 0
