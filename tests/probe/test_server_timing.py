"""A server's thinking time is not the line's, as long as it can be true."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speedtrap_probe.engine import latency
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.server_timing import line_ms, server_ms

from tests.lab.speed import Manners, speed_server

THINKS_MS = 40.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], 0.0),
        (["app;dur=12.5"], 12.5),
        (["cfRequestDuration;dur=12.5"], 12.5),
        (["cfReqDur;dur=3, cfSpeedA;dur=1, cfSpeedB;dur=2"], 3.0),
        (["cfRequestDuration;dur=0.01, cfSpeedA;dur=1"], 1.0),
        (["cfSpeedBackend;dur=2", "cfSpeedEdge;dur=1.5, cfSpeedTls;dur=.5"], 4.0),
        (["CFSPEEDX;dur=2, other;dur=100"], 2.0),
        (["db;dur=5", "total;dur=12"], 12.0),
        (["app;dur=1.25e1"], 12.5),
        (["app;dur=125E-1"], 12.5),
        (['app;desc="a, b; dur=9";dur="12.5"'], 12.5),
        (["app;desc=x ; dur = 12.5 "], 12.5),
        (["cache;desc=HIT, app"], 0.0),
        (["app;dur=-5, b;dur=nan, c;dur=1e999, d;dur=, e;dur=1x"], 0.0),
        (["duration=5;xdur=7"], 0.0),
    ],
)
def test_the_durations_of_all_headers_are_read(headers: list[str], expected: float) -> None:
    assert server_ms(headers) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_header_makes_it_stumble(headers: list[str]) -> None:
    assert server_ms(headers) >= 0


@pytest.mark.parametrize(
    ("taken", "thinking", "least", "expected"),
    [
        (50.0, 40.0, 5.0, 10.0),
        (50.0, 46.0, 5.0, 50.0),  # less than the transport itself needs
        (50.0, 50.0, None, 50.0),
        (50.0, 3_700_000.0, 5.0, 50.0),
        (50.0, 0.0, None, 50.0),
    ],
)
def test_a_duration_that_cannot_be_is_ignored(
    taken: float, thinking: float, least: float | None, expected: float
) -> None:
    assert line_ms(taken, thinking, least) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tells", "believed"),
    [
        (("cfRequestDuration;dur=40",), True),
        (("cfSpeedA;dur=25, cfSpeedB;dur=5", "cfSpeedC;dur=10"), True),
        (("cfRequestDuration;dur=4e7",), False),
    ],
)
def test_latency_is_without_the_servers_thinking_and_never_next_to_nothing(
    tells: tuple[str, ...], believed: bool
) -> None:
    headers = tuple(("Server-Timing", one) for one in tells)
    with speed_server(Manners(server_ms=THINKS_MS, tells=headers)) as server:
        idle = latency.measure(Target(server.url + "/cf/__down?bytes=0"), round_trips=5)
    assert idle is not None
    assert idle.latency_ms > 0.01
    assert believed or idle.latency_ms >= THINKS_MS
