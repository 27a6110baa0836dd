"""A run and what it is made of. Absent means not measured: no unknown figure is ever 0."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from speedtrap_probe.foreign import bounds, text

NAME_LIMIT = bounds.TEXT_LIMIT
NOTES_LIMIT = 16
MESSAGE_LIMIT = 500  # characters; a tool may print pages


class FailureKind(StrEnum):
    """Why a tool has no figure."""

    NO_NETWORK = "NO_NETWORK"
    TIMEOUT = "TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    TOOL_MISSING = "TOOL_MISSING"
    TOOL_FAILED = "TOOL_FAILED"
    SKIPPED = "SKIPPED"


class Medium(StrEnum):
    """How the machine is attached to its network."""

    WIRED = "WIRED"
    WIFI = "WIFI"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no figure, for the rules (`kind`) and for people (`message`, one line).

    Whatever a message quotes has passed the gate for foreign text.
    """

    kind: FailureKind
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", text.passed(self.message, MESSAGE_LIMIT))


@dataclass(frozen=True, slots=True)
class Server:
    """What was measured against, as it calls itself, bounded.

    Tools tell servers apart by these; what leaves this machine is `public`.
    """

    id: str | None = None
    name: str | None = None
    host: str | None = None
    location: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "name", "host", "location"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, text.seen(value, NAME_LIMIT) or None)

    @property
    def public(self) -> "Server | None":
        """Without addresses and whatever else the gate for foreign text keeps back."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        known = {name: text.named(value, NAME_LIMIT) for name, value in told.items() if value}
        return Server(**known) if any(known.values()) else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What one tool measured. Throughputs are 10^6 bits of payload per second."""

    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    jitter_ms: float | None = None
    packet_loss_ratio: float | None = None
    loaded_latency_down_ms: float | None = None
    loaded_latency_up_ms: float | None = None
    bytes_received: int | None = None
    bytes_sent: int | None = None
    server: Server | None = None
    result_url: str | None = None
    tool_version: str | None = None

    def __post_init__(self) -> None:
        if self.result_url is not None:
            object.__setattr__(self, "result_url", text.link(self.result_url, bounds.URL_LIMIT))
        if self.tool_version is not None:
            told = text.version(self.tool_version, NAME_LIMIT)
            object.__setattr__(self, "tool_version", told)
        for name in _NEVER_ZERO:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: a figure is above 0, or absent")
        for name in _NEVER_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}: it cannot be below 0")


# A rate or a round trip of 0 is how tools say "I don't know".
_NEVER_ZERO = (
    "download_mbps",
    "upload_mbps",
    "latency_ms",
    "loaded_latency_down_ms",
    "loaded_latency_up_ms",
)
_NEVER_NEGATIVE = ("jitter_ms", "packet_loss_ratio", "bytes_received", "bytes_sent")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One execution of one tool: figures, a failure, or both (one direction failed)."""

    tool: str
    started_at: datetime
    duration_s: float
    figures: Figures = field(default_factory=Figures)
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the run was made under; None is unknown.

    `line_up` is the connectivity check's word. Cross traffic and `cpu_percent` are the worse of
    before and during the run. `cpu_wait_percent` is the share of the measuring in which the probe
    wanted a processor and was given none. `link_mbps` is what the network interface negotiated. A
    positive `clock_offset_ms` says that the service's clock is ahead of the probe's. `notes` are
    sentences for people. A number that cannot be (drivers have their own for "unknown") is unknown;
    busy beyond all bounds is still busy.
    """

    line_up: bool | None = None
    medium: Medium | None = None
    cross_traffic_mbps: float | None = None
    cpu_percent: float | None = None
    public_ip_hash: str | None = None
    platform: str | None = None
    probe_version: str | None = None
    link_mbps: float | None = None
    vpn: bool | None = None
    on_battery: bool | None = None
    clock_offset_ms: float | None = None
    notes: tuple[str, ...] = ()
    cross_traffic_down_mbps: float | None = None
    cross_traffic_up_mbps: float | None = None
    cpu_wait_percent: float | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in bounds.CONDITIONS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                busy = value > most and name.startswith(("cross_traffic", "cpu"))
                object.__setattr__(self, name, most if busy else None)

    def noting(self, *notes: str | None) -> "Conditions":
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *(note for note in notes if note)))


@dataclass(frozen=True, slots=True)
class Run:
    """One round: every configured tool once, and the conditions."""

    id: UUID
    probe: str
    started_at: datetime
    finished_at: datetime
    conditions: Conditions
    measurements: tuple[Measurement, ...]

    @property
    def failed(self) -> bool:
        """No tool has a single figure, and not because it was told to keep still."""
        failures = [measurement.failure for measurement in self.measurements]
        skipped = [one for one in failures if one and one.kind is FailureKind.SKIPPED]
        return None not in failures and len(skipped) < max(1, len(failures))


def positive(value: object) -> float | None:
    """A tool's figure as a float; None for what tools write when they do not know."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of a thousand digits is valid JSON
        return None
    return number if math.isfinite(number) and number > 0 else None


def to_json(run: Run) -> dict[str, Any]:
    """The schema's `RunInput`; what is unknown is left out."""
    return {
        "id": str(run.id),
        "probe": run.probe,
        "startedAt": _moment(run.started_at),
        "finishedAt": _moment(run.finished_at),
        "conditions": _conditions_json(run.conditions),
        "measurements": [_measurement_json(measurement) for measurement in run.measurements],
    }


def from_json(document: Mapping[str, Any]) -> Run:
    """The inverse of `to_json`, for runs that wait in the outbox."""
    conditions = {_snake(name): value for name, value in document["conditions"].items()}
    if "medium" in conditions:
        conditions["medium"] = Medium(conditions["medium"])
    conditions["notes"] = tuple(conditions.get("notes", ()))
    return Run(
        id=UUID(document["id"]),
        probe=document["probe"],
        started_at=datetime.fromisoformat(document["startedAt"]),
        finished_at=datetime.fromisoformat(document["finishedAt"]),
        conditions=Conditions(**conditions),
        measurements=tuple(_measurement(entry) for entry in document["measurements"]),
    )


def _conditions_json(conditions: Conditions) -> dict[str, Any]:
    document = _known(conditions)
    if notes := document.pop("notes"):
        document["notes"] = [text.passed(note, NAME_LIMIT) for note in notes[:NOTES_LIMIT]]
    return document


def _measurement_json(measurement: Measurement) -> dict[str, Any]:
    document: dict[str, Any] = {
        "tool": measurement.tool,
        "startedAt": _moment(measurement.started_at),
        "durationS": round(measurement.duration_s, 3),
        **_known(measurement.figures),
    }
    document.pop("server", None)
    if measurement.figures.server is not None and (public := measurement.figures.server.public):
        document["server"] = _known(public)
    if measurement.failure is not None:
        document["failure"] = _known(measurement.failure)
    return document


def _measurement(document: Mapping[str, Any]) -> Measurement:
    values = {_snake(name): value for name, value in document.items()}
    failure, server = values.pop("failure", None), values.pop("server", None)
    return Measurement(
        tool=values.pop("tool"),
        started_at=datetime.fromisoformat(values.pop("started_at")),
        duration_s=values.pop("duration_s"),
        figures=Figures(server=Server(**server) if server else None, **values),
        failure=Failure(FailureKind(failure["kind"]), failure["message"]) if failure else None,
    )


def _known(value: Conditions | Figures | Server | Failure) -> dict[str, Any]:
    pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {_camel(name): known for name, known in pairs if known is not None}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
