"""Runs for tests, made by hand."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from speedtrap_probe.model import Conditions, Failure, Figures, Measurement, Medium, Run, Server

AT = datetime(2025, 11, 24, 18, 30, tzinfo=UTC)
FIGURES = Figures(download_mbps=512.3, upload_mbps=40.5, latency_ms=11.2)


def a_measurement(
    tool: str = "lan",
    figures: Figures = FIGURES,
    failure: Failure | None = None,
) -> Measurement:
    return Measurement(tool, AT, 12.5, figures, failure)


def a_run(
    *measurements: Measurement,
    probe: str = "laptop",
    id_: UUID | None = None,
    at: datetime = AT,
) -> Run:
    return Run(
        id=id_ or uuid4(),
        probe=probe,
        started_at=at,
        finished_at=at + timedelta(seconds=30),
        conditions=Conditions(line_up=True, medium=Medium.WIRED, platform="Linux"),
        measurements=measurements or (a_measurement(),),
    )


EVERYTHING = Figures(
    download_mbps=512.3,
    upload_mbps=40.5,
    latency_ms=11.2,
    jitter_ms=0.0,
    packet_loss_ratio=0.0,
    loaded_latency_down_ms=80.0,
    loaded_latency_up_ms=90.0,
    bytes_received=5_000_000_000,
    bytes_sent=7,
    server=Server("1", "Lab", "lab.example", "Here"),
    result_url="https://lab.example/1",
    tool_version="2.1.3",
)
