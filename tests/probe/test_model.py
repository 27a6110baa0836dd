import json
import math

import pytest
from speedtrap_probe.model import (
    MESSAGE_LIMIT,
    Failure,
    FailureKind,
    Figures,
    Server,
    from_json,
    positive,
    to_json,
)

from tests.probe.builders import EVERYTHING, a_measurement, a_run


def test_a_run_survives_json_with_every_figure() -> None:
    failure = Failure(FailureKind.RATE_LIMITED, "come back tomorrow")
    run = a_run(
        a_measurement("ookla", EVERYTHING), a_measurement("fast", Figures(), failure=failure)
    )
    assert from_json(json.loads(json.dumps(to_json(run)))) == run


def test_what_was_not_measured_is_absent_in_json() -> None:
    failure = Failure(FailureKind.NO_NETWORK, "no network")
    (measurement,) = to_json(a_run(a_measurement(figures=Figures(), failure=failure)))[
        "measurements"
    ]
    assert set(measurement) == {"tool", "startedAt", "durationS", "failure"}


def test_times_are_written_with_their_offset() -> None:
    assert to_json(a_run())["startedAt"] == "2025-11-24T18:30:00.000+00:00"


@pytest.mark.parametrize("name", ["download_mbps", "upload_mbps", "latency_ms"])
@pytest.mark.parametrize("value", [0, 0.0, -1.0, math.nan, math.inf])
def test_a_figure_of_zero_cannot_be_made(name: str, value: float) -> None:
    figures = {name: value}
    with pytest.raises(ValueError, match=name):
        Figures(**figures)  # type: ignore[arg-type]  # any of the numeric fields


def test_loss_and_jitter_of_zero_are_figures() -> None:
    assert Figures(packet_loss_ratio=0.0, jitter_ms=0.0).jitter_ms == 0.0


@pytest.mark.parametrize("unknown", [0, 0.0, -1, None, "12", True, math.nan])
def test_what_tools_write_for_unknown_is_no_figure(unknown: object) -> None:
    assert positive(unknown) is None


def test_a_failure_is_one_printable_bounded_line() -> None:
    failure = Failure(FailureKind.TOOL_FAILED, "a\r\nb\x1b[31mc\t" + "x " * 10)
    assert failure.message.startswith("a bc x x")
    long = Failure(FailureKind.TOOL_FAILED, "x " * 10_000 + "the end")
    assert long.message.startswith("…")
    assert long.message.endswith("x the end")
    assert len(long.message) == MESSAGE_LIMIT


def test_a_servers_name_is_bounded() -> None:
    server = Server(id="", name="n\n" * 500)
    assert server.id is None
    assert len(server.name or "") == 200


def test_a_run_with_one_figure_has_not_failed() -> None:
    failed = a_measurement(figures=Figures(), failure=Failure(FailureKind.TIMEOUT, "late"))
    assert a_run(failed).failed
    assert not a_run(failed, a_measurement()).failed
