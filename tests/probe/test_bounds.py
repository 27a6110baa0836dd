"""The probe's bounds are the service's: what the probe writes, the service takes."""

from datetime import timedelta
from typing import Any

import pytest
from speedtrap_graph.services.intake import validate as intake_checks
from speedtrap_graph.services.intake.validate import SUBMITTED_RUN, validate
from speedtrap_probe import model
from speedtrap_probe.foreign import bounds
from speedtrap_probe.foreign.credible import admitted
from speedtrap_probe.model import Conditions, Figures, Measurement, Run, Server, to_json

from tests.probe.builders import AT, a_measurement, a_run

SCHEMA = SUBMITTED_RUN.json_schema()["$defs"]


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def of_the_service(part: str, field: str) -> dict[str, Any]:
    told: dict[str, Any] = SCHEMA[part]["properties"][field]
    return next((one for one in told.get("anyOf", [told]) if one.get("type") != "null"), told)


@pytest.mark.parametrize("name", bounds.FIGURES)
def test_a_figure_has_the_services_bound(name: str) -> None:
    field = of_the_service("SubmittedMeasurement", camel(name))
    assert field["maximum"] == bounds.FIGURES[name]
    assert field.get("minimum", field.get("exclusiveMinimum")) == 0


@pytest.mark.parametrize("name", bounds.CONDITIONS)
def test_a_condition_has_the_services_bounds(name: str) -> None:
    field = of_the_service("SubmittedConditions", camel(name))
    least = field.get("minimum", field.get("exclusiveMinimum"))
    assert (least, field["maximum"]) == bounds.CONDITIONS[name]


def test_texts_have_the_services_bounds() -> None:
    measurement, failure = "SubmittedMeasurement", "SubmittedFailure"
    assert of_the_service(measurement, "resultUrl")["maxLength"] == bounds.URL_LIMIT
    assert of_the_service(measurement, "toolVersion")["maxLength"] == bounds.TEXT_LIMIT
    assert of_the_service(measurement, "durationS")["maximum"] == bounds.MAX_DURATION_S
    assert of_the_service(failure, "message")["maxLength"] >= model.MESSAGE_LIMIT
    for name in ("id", "name", "host", "location"):
        assert of_the_service("SubmittedServer", name)["maxLength"] == bounds.TEXT_LIMIT
    notes = of_the_service("SubmittedConditions", "notes")
    assert notes["maxItems"] == model.NOTES_LIMIT
    assert notes["items"]["maxLength"] == bounds.TEXT_LIMIT


def test_every_number_of_a_run_has_a_bound() -> None:
    for part in ("SubmittedMeasurement", "SubmittedConditions"):
        for name, told in SCHEMA[part]["properties"].items():
            field = of_the_service(part, name)
            assert field.get("type") not in {"number", "integer"} or "maximum" in field, told


HUGE = Figures(
    download_mbps=1e300,
    upload_mbps=1e7,
    latency_ms=3_700_000,
    jitter_ms=1.8e16,
    packet_loss_ratio=7,
    loaded_latency_down_ms=1e9,
    loaded_latency_up_ms=1e9,
    bytes_received=2**80,
    bytes_sent=10**15,
    server=Server("i" * 999, "n" * 999, "h" * 999, "l" * 999),
    result_url="https://a.example/" + "x" * 600,
    tool_version="v" * 999,
)
EACH = [
    Figures(**{name: getattr(HUGE, name)})
    for name in (*bounds.FIGURES, "server", "result_url", "tool_version")
]


@pytest.mark.parametrize("figures", [HUGE, *EACH])
def test_whatever_a_tool_says_the_service_takes_its_run(figures: Figures) -> None:
    conditions = Conditions(
        cross_traffic_mbps=1e9, cpu_percent=1e9, cpu_wait_percent=101.0, link_mbps=4_294_967_295.0,
        clock_offset_ms=1e15, notes=("n" * 999,) * 99, cross_traffic_up_mbps=-1.0,
    )  # fmt: skip
    odd = admitted(Measurement("ookla", AT, 10, figures))
    run = Run(a_run().id, "laptop", AT, AT + timedelta(seconds=30), conditions,
              (odd, a_measurement("fast")))  # fmt: skip
    taken, rejected = validate([to_json(run)], AT + timedelta(hours=1))
    assert rejected == []
    ((_, row),) = taken
    assert row["measurements"][1]["download_mbps"] == 512.3
    assert len(row["measurements"]) <= intake_checks.MAX_MEASUREMENTS
