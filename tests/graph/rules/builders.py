"""Small builders for the rules' values: give what the sentence is about, the rest is ordinary."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from speedtrap_graph.rules.model import (
    FailureKind,
    Metric,
    Observation,
    Outcome,
    Plan,
    Reading,
    RunFacts,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def a_plan(
    download_mbps: float = 940.0,
    upload_mbps: float | None = 40.0,
    time_zone: str = "UTC",
    since: datetime = EPOCH,
) -> Plan:
    return Plan("Some ISP", download_mbps, upload_mbps, time_zone, since)


def a_reading(tool: str = "ookla", download: float | None = None, **figures: float) -> Reading:
    """`download=` and, by lower-case metric, any other figure: `latency=12`."""
    given = {Metric[name.upper()]: value for name, value in figures.items()}
    if download is not None:
        given[Metric.DOWNLOAD] = download
    return Reading(tool, given)


def a_failure(tool: str = "ookla", kind: FailureKind = FailureKind.NO_NETWORK) -> Reading:
    return Reading(tool, {}, kind)


def a_run(
    *readings: Reading,
    line_up: bool | None = True,
    cross_traffic_mbps: float | None = None,
    started_at: datetime = NOON,
) -> RunFacts:
    return RunFacts(
        id=UUID(int=1),
        started_at=started_at,
        finished_at=started_at + timedelta(minutes=1),
        line_up=line_up,
        cross_traffic_mbps=cross_traffic_mbps,
        readings=readings,
    )


def an_observation(
    value: float | None = None,
    *,
    at: datetime = NOON,
    number: int = 1,
    outcome: Outcome = Outcome.MEASURED,
    threshold: float | None = 470.0,
) -> Observation:
    return Observation(UUID(int=number), at, at + timedelta(minutes=1), outcome, value, threshold)


def a_line(letters: str, threshold: float | None = 470.0) -> list[Observation]:
    """One observation an hour: b bad, g good, o outage, i inconclusive, - without this metric."""
    return list(_line(letters, threshold))


def _line(letters: str, threshold: float | None) -> Iterable[Observation]:
    kinds: dict[str, tuple[float | None, Outcome]] = {
        "b": (100.0, Outcome.MEASURED),
        "g": (900.0, Outcome.MEASURED),
        "o": (None, Outcome.OUTAGE),
        "i": (None, Outcome.INCONCLUSIVE),
        "-": (None, Outcome.MEASURED),
    }
    for place, letter in enumerate(letters):
        value, outcome = kinds[letter]
        yield an_observation(
            value,
            at=hour(place),
            number=place + 1,
            outcome=outcome,
            threshold=threshold,
        )


def hour(place: int) -> datetime:
    """The start of the observation at *place* of `a_line`."""
    return NOON + timedelta(hours=place)
