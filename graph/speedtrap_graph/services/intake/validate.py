"""A run as it arrives, checked field by field: one bad run does not sink its batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Required
from uuid import UUID

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict  # typing's own is too poor before Python 3.12

from speedtrap_graph.names import PROBE_NAME, PROBE_NAME_WORDS
from speedtrap_graph.services.intake import gate
from speedtrap_graph.services.intake.credible import without_impossible
from speedtrap_graph.store.database import Row
from speedtrap_graph.timestamps import parse_moment

MAX_BATCH = 500
MAX_MEASUREMENTS = 32
MAX_VALUES = 2_000
"""Of a run, counted before it is checked: of unknown fields each would become an error first."""
FUTURE_SKEW = timedelta(minutes=5)
"""A probe's clock may be ahead by this much before its run is refused."""
_FUTURE = "lies in the future: check the probe's clock"
_LONGEST = timedelta(days=1)
_MAX_MBPS = 1_000_000.0
_MAX_MS = 3_600_000.0
_MAX_OFFSET_MS = 1e13
"""Some three centuries: how far the clock of a machine without a battery may be off."""
MAX_BYTES = 10**14
"""A terabit per second for a quarter of an hour."""

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


Moment = Annotated[datetime, BeforeValidator(parse_moment)]
Text = Annotated[str, Field(max_length=200)]
Mbps = Annotated[float, Field(gt=0, le=_MAX_MBPS)]
Milliseconds = Annotated[float, Field(ge=0, le=_MAX_MS)]
ByteCount = Annotated[int, Field(ge=0, le=MAX_BYTES)]


# Dictionaries, because they are what is stored: a model would be made only to be taken apart.
_strictly = with_config(
    ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )
)


@_strictly
class SubmittedServer(TypedDict, total=False):
    id: Text | None
    name: Text | None
    host: Text | None
    location: Text | None


@_strictly
class SubmittedFailure(TypedDict):
    kind: Literal["NO_NETWORK", "TIMEOUT", "RATE_LIMITED", "TOOL_MISSING", "TOOL_FAILED", "SKIPPED"]
    message: Annotated[str, Field(max_length=2000)]


@_strictly
class SubmittedMeasurement(TypedDict, total=False):
    tool: Required[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]]
    tool_version: Text | None
    started_at: Required[Moment]
    duration_s: Required[Annotated[float, Field(ge=0, le=_LONGEST.total_seconds())]]
    download_mbps: Mbps | None
    upload_mbps: Mbps | None
    latency_ms: Milliseconds | None
    jitter_ms: Milliseconds | None
    packet_loss_ratio: Annotated[float, Field(ge=0, le=1)] | None
    loaded_latency_down_ms: Milliseconds | None
    loaded_latency_up_ms: Milliseconds | None
    bytes_received: ByteCount | None
    bytes_sent: ByteCount | None
    server: SubmittedServer | None
    result_url: Annotated[str, Field(max_length=500, pattern="^https?://")] | None
    failure: SubmittedFailure | None


@_strictly
class SubmittedConditions(TypedDict, total=False):
    line_up: bool | None
    medium: Literal["WIRED", "WIFI", "UNKNOWN"]
    cross_traffic_mbps: Annotated[float, Field(ge=0, le=_MAX_MBPS)] | None
    cross_traffic_down_mbps: Annotated[float, Field(ge=0, le=_MAX_MBPS)] | None
    cross_traffic_up_mbps: Annotated[float, Field(ge=0, le=_MAX_MBPS)] | None
    cpu_percent: Annotated[float, Field(ge=0, le=100_000)] | None
    cpu_wait_percent: Annotated[float, Field(ge=0, le=100)] | None
    public_ip_hash: Text | None
    platform: Text | None
    probe_version: Text | None
    link_mbps: Annotated[float, Field(gt=0, le=_MAX_MBPS)] | None
    vpn: bool | None
    on_battery: bool | None
    clock_offset_ms: Annotated[float, Field(ge=-_MAX_OFFSET_MS, le=_MAX_OFFSET_MS)] | None
    notes: Annotated[list[Text], Field(max_length=16)]


@_strictly
class SubmittedRun(TypedDict, total=False):
    id: Required[Annotated[UUID, Field(strict=False)]]  # strictly, only a UUID object would do
    probe: Required[Annotated[str, Field(pattern=f"^{PROBE_NAME.pattern}$")]]
    started_at: Required[Moment]
    finished_at: Required[Moment]
    conditions: SubmittedConditions | None
    measurements: Required[
        Annotated[list[SubmittedMeasurement], Field(max_length=MAX_MEASUREMENTS)]
    ]


SUBMITTED_RUN = TypeAdapter(SubmittedRun)


def _row(run: SubmittedRun) -> Row:
    """As stored, before it is judged. What was not measured is absent."""
    conditions = gate.conditions(
        {"medium": "UNKNOWN", "notes": [], **_present(run.get("conditions") or {})}
    )
    return {
        "_id": run["id"],
        "probe": run["probe"],
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
        "conditions": conditions,
        "measurements": without_impossible(
            [_measured(measurement) for measurement in run["measurements"]], conditions
        ),
    }


def _measured(measurement: SubmittedMeasurement) -> Row:
    row = _present(measurement)
    for name in ("server", "failure"):
        if name in row:
            row[name] = _present(row[name])
    return gate.measurement(row)


def _present(part: Any) -> Row:
    """Of a dictionary that was made by the check, and is nobody else's."""
    row: Row = part
    if None not in row.values():
        return row
    return {name: value for name, value in row.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a run was not taken. `field` is the path, e.g. `measurements[1].downloadMbps`."""

    id: str | None
    index: int
    field: str
    message: str


def validate(
    raw_runs: Sequence[object], now: datetime
) -> tuple[list[tuple[int, Row]], list[Rejection]]:
    """The good runs, as they are stored before they are judged, with their places in the batch; and
    the reasons for the others.
    """
    good: list[tuple[int, Row]] = []
    bad: list[Rejection] = []
    for index, raw in enumerate(raw_runs):
        if not _is_small(raw):
            too_many = "run", f"holds more than {MAX_VALUES} values"
            bad.append(Rejection(_submitted_id(raw), index, *too_many))
            continue
        try:
            row = _row(_checked(raw))
        except ValidationError:
            bad.append(Rejection(_submitted_id(raw), index, *_problem(raw)))
            continue
        wrong = _wrong_moment(row, now)
        if wrong is None:
            good.append((index, row))
        else:
            bad.append(Rejection(_submitted_id(raw), index, *wrong))
    return good, bad


def _is_small(raw: object) -> bool:
    left, parts = MAX_VALUES, [raw]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list):
            left -= len(part)
            if left < 0:
                return False
            inner = part.values() if isinstance(part, dict) else part
            parts += [one for one in inner if isinstance(one, dict | list)]
    return True


def _checked(raw: object) -> SubmittedRun:
    try:
        checked: SubmittedRun = SUBMITTED_RUN.validator.validate_python(raw)
    except ValidationError:
        # Half a character makes the whole run unreadable: without it, it may be a good one.
        mended = gate.mended(raw)
        if mended == raw:
            raise
        checked = SUBMITTED_RUN.validator.validate_python(mended)
    return checked


def _wrong_moment(row: Row, now: datetime) -> tuple[str, str] | None:
    """The first that cannot be, beside the others or by our own clock."""
    latest = now + FUTURE_SKEW
    started, finished = row["started_at"], row["finished_at"]
    if finished < started:
        return "finishedAt", "lies before startedAt"
    if finished - started > _LONGEST:
        return "finishedAt", "lies more than a day after startedAt"
    if started > latest:
        return "startedAt", _FUTURE
    if finished > latest:
        return "finishedAt", _FUTURE
    for place, measurement in enumerate(row["measurements"]):
        if measurement["started_at"] > latest:
            return f"measurements[{place}].startedAt", _FUTURE
    return None


def _problem(raw: object) -> tuple[str, str]:
    """What is wrong with a run that was refused, in the words of JSON, which its author wrote."""
    try:
        SUBMITTED_RUN.validate_json(json.dumps(raw))
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
    return problem["msg"].removeprefix("Value error, ")


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
