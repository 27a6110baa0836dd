"""What is refused, with the field named; the good runs of the same batch are kept."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from speedtrap_graph.services.intake.validate import MAX_MEASUREMENTS, SUBMITTED_RUN, validate

from tests.lab.runs import a_run

NOW = datetime.now(UTC)


def later(**span: float) -> str:
    return (NOW + timedelta(**span)).isoformat()


def with_measurement(**changes: Any) -> dict[str, Any]:
    run = a_run()
    run["measurements"][0] |= changes
    return run


def without(field: str) -> dict[str, Any]:
    run = a_run()
    del run[field]
    return run


FIRST = "measurements[0]"
BAD: list[tuple[str, Any, str, str]] = [
    ("a negative throughput", with_measurement(downloadMbps=-1), f"{FIRST}.downloadMbps", "never"),
    ("a throughput of 0", with_measurement(uploadMbps=0), f"{FIRST}.uploadMbps", "leave out"),
    ("a throughput of 0.0", with_measurement(uploadMbps=0.0), f"{FIRST}.uploadMbps", "leave out"),
    ("NaN", with_measurement(latencyMs=float("nan")), f"{FIRST}.latencyMs", "finite"),
    ("infinity", with_measurement(latencyMs=float("inf")), f"{FIRST}.latencyMs", "finite"),
    ("a loss above 1", with_measurement(packetLossRatio=2), f"{FIRST}.packetLossRatio", "1"),
    ("a number as text", with_measurement(downloadMbps="9"), f"{FIRST}.downloadMbps", "number"),
    ("a truth for a number", with_measurement(latencyMs=True), f"{FIRST}.latencyMs", "number"),
    ("bytes beyond 63 bits", with_measurement(bytesSent=2**63), f"{FIRST}.bytesSent", "less"),
    ("an unknown measurement field", with_measurement(speed=9), f"{FIRST}.speed", "no such"),
    ("a script for an address", with_measurement(resultUrl="javascript:1"), f"{FIRST}.resultUrl",
     "https"),
    ("a tool with a space", with_measurement(tool="my tool"), f"{FIRST}.tool", "pattern"),
    ("an unknown failure", with_measurement(failure={"kind": "BAD", "message": ""}),
     f"{FIRST}.failure.kind", "NO_NETWORK"),
    ("a text too long", with_measurement(toolVersion="x" * 201), f"{FIRST}.toolVersion", "200"),
    ("a time without offset", a_run(startedAt="2026-11-24T06:00:00"), "startedAt", "offset"),
    ("a date", a_run(startedAt="2026-11-24"), "startedAt", "offset"),
    ("seconds for a time", a_run(startedAt=1_790_000_000), "startedAt", "offset"),
    ("a day that is none", a_run(startedAt="2026-02-30T06:00:00Z"), "startedAt", "exists"),
    ("a start in the future", a_run(startedAt=later(hours=1), finishedAt=later(hours=1)),
     "startedAt", "future"),
    ("an end in the future", a_run(finishedAt=later(hours=1)), "finishedAt", "future"),
    ("an end before the start", a_run(finishedAt=later(hours=-9)), "finishedAt", "before"),
    ("a run of two days", a_run(startedAt=later(days=-3)), "finishedAt", "more than a day"),
    ("a run of the year 1", a_run(startedAt="0001-01-01T00:00:00Z"), "startedAt", "1970 to 2199"),
    ("a run before all clocks", a_run(startedAt="1969-12-31T23:59:59Z"), "startedAt", "1970"),
    ("a run of the year 9999", a_run(finishedAt="9999-12-31T23:59:59-14:00"), "finishedAt",
     "exist"),
    ("a measurement in the future", with_measurement(startedAt=later(hours=1)),
     f"{FIRST}.startedAt", "future"),
    ("an unknown field", a_run(colour="blue"), "colour", "no such"),
    ("a misspelt field", {**without("startedAt"), "startetAt": later()}, "startetAt", "no such"),
    ("no start", without("startedAt"), "startedAt", "required"),
    ("a name of 65 characters", a_run(probe="p" * 65), "probe", "64"),
    ("a name in capitals", a_run(probe="Laptop"), "probe", "a to z"),
    ("a name that leaves its folder", a_run(probe="../x"), "probe", "a to z"),
    ("a name with a line's end", a_run(probe="laptop\n"), "probe", "a to z"),
    ("no name", a_run(probe=""), "probe", "64"),
    ("an id that is none", a_run(id="42"), "id", "UUID"),
    ("too many measurements", a_run(measurements=a_run()["measurements"] * (MAX_MEASUREMENTS + 1)),
     "measurements", "at most"),
    ("an unknown medium", a_run(conditions={"medium": "STRING"}), "conditions.medium", "WIRED"),
    ("a text for a run", "run", "run", "object"),
    ("nothing", None, "run", "object"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "field", "word"), [row[1:] for row in BAD], ids=[b[0] for b in BAD]
)
def test_a_bad_run_is_refused_by_its_field_and_the_good_ones_are_kept(
    raw: Any, field: str, word: str
) -> None:
    good, rejected = validate([a_run(), raw, a_run()], NOW)
    assert [index for index, _ in good] == [0, 2]
    (rejection,) = rejected
    assert (rejection.index, rejection.field) == (1, field)
    assert word in rejection.message


GOOD: list[tuple[str, Any]] = [
    ("a clock slightly ahead", a_run(startedAt=later(minutes=2), finishedAt=later(minutes=3))),
    ("nulls for what was not measured", with_measurement(jitterMs=None, server=None)),
    ("no conditions", without("conditions")),
    ("null conditions", a_run(conditions=None)),
    ("an outage", a_run(None, conditions={"lineUp": False})),
    ("a whole number", with_measurement(downloadMbps=940)),
    ("a jitter of 0", with_measurement(jitterMs=0)),
    ("terabytes", with_measurement(bytesReceived=2**42)),
    ("another offset", a_run(startedAt="2026-01-01T06:00:00.123456789+05:45",
                             finishedAt="2026-01-01T06:01:00+05:45")),
    ("the longest name", a_run(probe="p" * 64)),
]  # fmt: skip


@pytest.mark.parametrize("raw", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_good_run_is_taken(raw: Any) -> None:
    _, rejected = validate([raw], NOW)
    assert rejected == []


def test_what_was_not_measured_is_absent_from_the_stored_run() -> None:
    ((_, run),), _ = validate([with_measurement(jitterMs=None, uploadMbps=None)], NOW)
    (measurement,) = run["measurements"]
    assert "jitter_ms" not in measurement
    assert "upload_mbps" not in measurement


WIRE = {"medium": "WIRED", "linkMbps": 100.0}


@pytest.mark.parametrize(
    ("field", "words"), [("downloadMbps", "download"), ("uploadMbps", "upload")]
)
def test_a_throughput_above_the_rate_of_its_wire_fails_its_tool_with_what_it_claimed(
    field: str, words: str
) -> None:
    claimed = {"downloadMbps": 90.0, "latencyMs": 3.0, "bytesReceived": 1, field: 650.0}
    claims = with_measurement(**claimed)
    claims["measurements"].append(
        {**a_run()["measurements"][0], "tool": "fast", "downloadMbps": 94}
    )
    ((_, run),), _ = validate([{**claims, "conditions": WIRE}], NOW)
    failed, stands = run["measurements"]
    assert failed["failure"] == {
        "kind": "TOOL_FAILED",
        "message": f"reported {words} 650 Mbps through a network link of 100 Mbps, which cannot be",
    }
    assert "latency_ms" not in failed
    assert failed["bytes_received"] == 1
    assert stands["download_mbps"] == 94


@pytest.mark.parametrize("conditions", [{**WIRE, "medium": "WIFI"}, {"medium": "WIRED"}, {}])
def test_only_a_wire_of_known_rate_is_held_against_a_figure(conditions: dict[str, Any]) -> None:
    ((_, run),), _ = validate(
        [{**with_measurement(downloadMbps=650), "conditions": conditions}], NOW
    )
    assert run["measurements"][0]["download_mbps"] == 650


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
HUGE = st.sampled_from([10**30, 10**400, -(2**63), 1e308])
PARTS = ["downloadMbps", "bytesSent", "durationS", "tool", "startedAt", "server", "failure"]


@given(value=JSON | HUGE, field=st.sampled_from(sorted(a_run())), part=st.sampled_from(PARTS))
def test_a_run_is_good_where_strict_json_says_so(value: object, field: str, part: str) -> None:
    raws = [with_measurement(**{part: value})]
    if value is not None:  # nothing said about the conditions is nothing wrong
        raws.append(a_run() | {field: value})
    for raw in raws:
        try:
            SUBMITTED_RUN.validate_json(json.dumps(raw))
        except ValidationError:
            expected = []
        else:
            expected = [0]
        good, bad = validate([raw], NOW)
        assert [index for index, _ in good] == expected
        assert len(bad) == 1 - len(good)
