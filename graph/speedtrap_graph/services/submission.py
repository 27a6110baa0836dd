"""A run as it arrives, checked field by field: one bad run does not sink its batch."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from speedtrap_graph.services.moments import parse_moment

MAX_BATCH = 500
MAX_MEASUREMENTS = 32
FUTURE_SKEW = timedelta(minutes=5)
"""A probe's clock may be ahead by this much before its run is refused."""
_FUTURE = "lies in the future: check the probe's clock"
_LONGEST = timedelta(days=1)
_MAX_MBPS = 1_000_000.0
_MAX_MS = 3_600_000.0
_MAX_OFFSET_MS = 1e13
"""Some three centuries: how far the clock of a machine without a battery may be off."""
_MAX_BYTES = 2**63 - 1

PROBE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
PROBE_NAME_WORDS = (
    "1 to 64 characters: a to z, 0 to 9, dot, hyphen and underscore, not starting with a sign"
)
_NO_THROUGHPUT = "a throughput is never 0 or negative: leave out what was not measured"
_OWN_WORDS = {
    ("probe", "string_pattern_mismatch"): f"must be {PROBE_NAME_WORDS}",
    ("downloadMbps", "greater_than"): _NO_THROUGHPUT,
    ("uploadMbps", "greater_than"): _NO_THROUGHPUT,
    ("resultUrl", "string_pattern_mismatch"): (
        "must be an address that starts with https:// or http://"
    ),
}
"""What Pydantic says too tersely, by field and kind. Words of a validator in Python would come
without this table, and cost more than all of Pydantic's own."""


def _moment(value: object) -> datetime:
    try:
        return parse_moment(value)
    except ValueError as error:
        # The text goes in as a value: braces in it must not be read as a template.
        raise PydanticCustomError("refused", "{why}", {"why": str(error)}) from error


Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, Field(max_length=200)]
Mbps = Annotated[float, Field(gt=0, le=_MAX_MBPS)]
Milliseconds = Annotated[float, Field(ge=0, le=_MAX_MS)]
ByteCount = Annotated[int, Field(ge=0, le=_MAX_BYTES)]


class _Part(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )


class SubmittedServer(_Part):
    id: Text | None = None
    name: Text | None = None
    host: Text | None = None
    location: Text | None = None


class SubmittedFailure(_Part):
    kind: Literal["NO_NETWORK", "TIMEOUT", "RATE_LIMITED", "TOOL_MISSING", "TOOL_FAILED", "SKIPPED"]
    message: Annotated[str, Field(max_length=2000)]


class SubmittedMeasurement(_Part):
    tool: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]
    tool_version: Text | None = None
    started_at: Moment
    duration_s: Annotated[float, Field(ge=0, le=_LONGEST.total_seconds())]
    download_mbps: Mbps | None = None
    upload_mbps: Mbps | None = None
    latency_ms: Milliseconds | None = None
    jitter_ms: Milliseconds | None = None
    packet_loss_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    loaded_latency_down_ms: Milliseconds | None = None
    loaded_latency_up_ms: Milliseconds | None = None
    bytes_received: ByteCount | None = None
    bytes_sent: ByteCount | None = None
    server: SubmittedServer | None = None
    result_url: Annotated[str, Field(max_length=500, pattern="^https?://")] | None = None
    failure: SubmittedFailure | None = None


class SubmittedConditions(_Part):
    line_up: bool | None = None
    medium: Literal["WIRED", "WIFI", "UNKNOWN"] = "UNKNOWN"
    cross_traffic_mbps: Annotated[float, Field(ge=0, le=_MAX_MBPS)] | None = None
    cpu_percent: Annotated[float, Field(ge=0, le=100_000)] | None = None
    public_ip_hash: Text | None = None
    platform: Text | None = None
    probe_version: Text | None = None
    link_mbps: Annotated[float, Field(gt=0, le=_MAX_MBPS)] | None = None
    vpn: bool | None = None
    on_battery: bool | None = None
    clock_offset_ms: Annotated[float, Field(ge=-_MAX_OFFSET_MS, le=_MAX_OFFSET_MS)] | None = None
    notes: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list)


class SubmittedRun(_Part):
    id: Annotated[UUID, Field(strict=False)]  # strictly, only a UUID object would do
    probe: Annotated[str, Field(pattern=f"^{PROBE_NAME.pattern}$")]
    started_at: Moment
    finished_at: Moment
    conditions: SubmittedConditions = SubmittedConditions()
    measurements: Annotated[list[SubmittedMeasurement], Field(max_length=MAX_MEASUREMENTS)]

    def row(self) -> dict[str, Any]:
        """As stored, before it is judged. What was not measured is absent."""
        return {
            "_id": self.id,
            "probe": self.probe,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "conditions": _present(self.conditions),
            "measurements": [_measured(measurement) for measurement in self.measurements],
        }


def _measured(measurement: SubmittedMeasurement) -> dict[str, Any]:
    row = _present(measurement)
    for name, part in (("server", measurement.server), ("failure", measurement.failure)):
        if part is not None:
            row[name] = _present(part)
    return row


def _present(part: _Part) -> dict[str, Any]:
    """By hand: `model_dump` takes twice as long, and a run has few parts."""
    return {name: value for name, value in part.__dict__.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a run was not taken. `field` is the path, e.g. `measurements[1].downloadMbps`."""

    id: str | None
    index: int
    field: str
    message: str


def validate(
    raw_runs: Sequence[object], now: datetime
) -> tuple[list[tuple[int, SubmittedRun]], list[Rejection]]:
    """The good runs with their places in the batch, and the reasons for the others."""
    good: list[tuple[int, SubmittedRun]] = []
    bad: list[Rejection] = []
    for index, raw in enumerate(raw_runs):
        checked = _validate_one(raw, now)
        if isinstance(checked, SubmittedRun):
            good.append((index, checked))
        else:
            bad.append(Rejection(_submitted_id(raw), index, *checked))
    return good, bad


def _validate_one(raw: object, now: datetime) -> SubmittedRun | tuple[str, str]:
    if isinstance(raw, dict) and raw.get("conditions", ...) is None:
        raw = {name: value for name, value in raw.items() if name != "conditions"}
    try:
        run = SubmittedRun.model_validate(raw)
    except ValidationError:
        return _problem(raw)
    return _wrong_moment(run, now) or run


def _wrong_moment(run: SubmittedRun, now: datetime) -> tuple[str, str] | None:
    """The first that cannot be, beside the others or by our own clock."""
    latest = now + FUTURE_SKEW
    if run.finished_at < run.started_at:
        return "finishedAt", "lies before startedAt"
    if run.finished_at - run.started_at > _LONGEST:
        return "finishedAt", "lies more than a day after startedAt"
    if run.started_at > latest:
        return "startedAt", _FUTURE
    if run.finished_at > latest:
        return "finishedAt", _FUTURE
    for place, measurement in enumerate(run.measurements):
        if measurement.started_at > latest:
            return f"measurements[{place}].startedAt", _FUTURE
    return None


def _problem(raw: object) -> tuple[str, str]:
    """What is wrong with a run that was refused, in the words of JSON, which its author wrote."""
    try:
        SubmittedRun.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        return _first_problem(error.errors(include_url=False, include_input=False))
    except (TypeError, ValueError, RecursionError):
        pass
    return "run", "must be a JSON object"


def _first_problem(problems: Sequence[ErrorDetails]) -> tuple[str, str]:
    # An unknown field is often a misspelt one: it explains the missing one better.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    path = _path(problem["loc"])
    return path or "run", _words(problem)


def _words(problem: ErrorDetails) -> str:
    own = _OWN_WORDS.get((str(problem["loc"][-1]), problem["type"])) if problem["loc"] else None
    if own is not None:
        return own
    if problem["type"] == "extra_forbidden":
        return "there is no such field"
    if problem["type"] == "missing":
        return "is required"
    return problem["msg"]


def _path(loc: Sequence[int | str]) -> str:
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else str(step)
    return path[:200]


def _submitted_id(raw: object) -> str | None:
    if isinstance(raw, Mapping) and isinstance(raw.get("id"), str):
        return str(raw["id"])[:64]
    return None
