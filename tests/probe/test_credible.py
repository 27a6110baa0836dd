"""A figure that cannot be fails its tool, and no other."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from speedtrap_probe import run as rounds
from speedtrap_probe.foreign.credible import admitted
from speedtrap_probe.model import (
    Conditions,
    Failure,
    FailureKind,
    Figures,
    Measurement,
    Medium,
    Server,
)
from speedtrap_probe.tool import Setup, Tool

from tests.probe.builders import AT, EVERYTHING

PORT_OF_100 = Conditions(medium=Medium.WIRED, link_mbps=100)
THERE = Server(host="speed.example.net")


def measured(duration_s: float = 20.0, **figures: Any) -> Measurement:
    return Measurement("ookla", AT, duration_s, Figures(server=THERE, **figures))


IMPOSSIBLE = [
    (measured(download_mbps=650), "download_mbps is 650, which cannot be: the cable carries 100"),
    (measured(upload_mbps=105.1), "upload_mbps is 105.1, which cannot be: the cable carries 100"),
    (measured(download_mbps=94, bytes_received=10**9), "bytes_received is 1,000,000,000 in 20.0 s"),
    (measured(latency_ms=3_700_000), "latency_ms is 3.7e+06, which cannot be: at most 3.6e+06"),
    (measured(jitter_ms=1.8e16), "jitter_ms is 1.8e+16"),
    (measured(loaded_latency_up_ms=1e9), "loaded_latency_up_ms is 1e+09"),
    (measured(packet_loss_ratio=1.2), "packet_loss_ratio is 1.2, which cannot be: at most 1"),
    (measured(bytes_sent=2**70), "bytes_sent is"),
    (measured(90_000, bytes_received=10**15), "bytes_received is"),
    (measured(download_mbps=90, bytes_received=1000), "it counted 1,000 bytes only"),
]


@pytest.mark.parametrize(("measurement", "reason"), IMPOSSIBLE, ids=[row[1] for row in IMPOSSIBLE])
def test_what_cannot_be_fails_its_tool_with_the_reason(
    measurement: Measurement, reason: str
) -> None:
    failed = admitted(measurement, PORT_OF_100)
    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.TOOL_FAILED
    assert reason in failed.failure.message
    assert failed.figures.download_mbps is failed.figures.upload_mbps is None
    assert failed.figures.latency_ms is failed.figures.jitter_ms is None


POSSIBLE = [
    (measured(download_mbps=94.9, bytes_received=237_000_000), PORT_OF_100),
    (measured(download_mbps=104.9), PORT_OF_100),
    (measured(download_mbps=650), Conditions(medium=Medium.WIFI, link_mbps=100)),
    (measured(download_mbps=650), Conditions(medium=Medium.UNKNOWN, link_mbps=100)),
    (measured(download_mbps=650), Conditions(medium=Medium.WIRED)),
    (Measurement("lan", AT, 20, Figures(download_mbps=9000, server=Server(host="127.0.0.1"))),
     PORT_OF_100),
    (Measurement("ookla", AT, 60, replace(EVERYTHING, bytes_sent=7_000_000)), Conditions()),
]  # fmt: skip


@pytest.mark.parametrize(("measurement", "seen"), POSSIBLE)
def test_what_can_be_stays_as_it_is(measurement: Measurement, seen: Conditions) -> None:
    assert admitted(measurement, seen) == measurement


def test_a_tool_that_failed_in_part_tells_both_reasons() -> None:
    half = Measurement("fast", AT, 20, Figures(download_mbps=650, server=THERE),
                       Failure(FailureKind.TIMEOUT, "the upload stalled"))  # fmt: skip
    failed = admitted(half, PORT_OF_100)
    assert "the cable carries 100" in str(failed.failure)
    assert "the upload stalled" in str(failed.failure)


def test_what_was_moved_still_counts_against_the_budget() -> None:
    failed = admitted(measured(download_mbps=650, bytes_received=240_000_000), PORT_OF_100)
    assert failed.figures.bytes_received == 240_000_000


@pytest.mark.parametrize("unknown", [4_294_967_295.0, -1.0])
def test_a_drivers_number_for_an_unknown_link_is_unknown(unknown: float) -> None:
    assert Conditions(link_mbps=unknown).link_mbps is None


@dataclass
class ATool:
    name: str
    figures: Figures
    internet: bool = True

    def measure(self, _setup: Setup) -> Figures:
        return self.figures


class OnTheCable:
    def before(self) -> Conditions:
        return PORT_OF_100

    def around(self, _tool: Tool, measure: Callable[[], Measurement]) -> Measurement:
        return measure()

    def after(self, _came_through: bool) -> Conditions:
        return PORT_OF_100


def test_the_runs_other_tools_stand_and_the_doubt_is_about_what_can_be() -> None:
    tools: Any = [
        ATool("ookla", Figures(download_mbps=650, server=THERE)),
        ATool("fast", Figures(download_mbps=20, server=THERE)),
    ]
    doubt = rounds.Doubt(50, "half of the plan")
    run = rounds.measure("laptop", tools, Setup("http://127.0.0.1:1"), OnTheCable(), doubt=doubt)
    told = [(one.tool, one.figures.download_mbps) for one in run.measurements]
    assert told == [("ookla", None), ("fast", 20), ("fast", 20)]
