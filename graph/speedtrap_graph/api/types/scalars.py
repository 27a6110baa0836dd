"""Scalars that are stricter than GraphQL's libraries are by default."""

import re
from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from speedtrap_graph.timestamps import format_moment, parse_moment

BigInt = NewType("BigInt", int)
RunInput = NewType("RunInput", object)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)

RUN_INPUT_DESCRIPTION = """\
One run, as the probe measured it (a JSON object; validated field by field, so that one bad run does not sink its batch):

{
  id: UUID!, probe: String!, startedAt: DateTime!, finishedAt: DateTime!,
  conditions: {
    lineUp: Boolean, medium: "WIRED" | "WIFI" | "UNKNOWN",
    crossTrafficMbps: Float, crossTrafficDownMbps: Float, crossTrafficUpMbps: Float,
    cpuPercent: Float, cpuWaitPercent: Float,
    publicIpHash: String, platform: String, probeVersion: String,
    linkMbps: Float, vpn: Boolean, onBattery: Boolean, clockOffsetMs: Float, notes: [String!]
  },
  measurements: [{
    tool: String!, toolVersion: String, startedAt: DateTime!, durationS: Float!,
    downloadMbps: Float, uploadMbps: Float, latencyMs: Float, jitterMs: Float, packetLossRatio: Float,
    loadedLatencyDownMs: Float, loadedLatencyUpMs: Float, bytesReceived: Int, bytesSent: Int,
    server: { id: String, name: String, host: String, location: String }, resultUrl: String,
    failure: { kind: "NO_NETWORK" | "TIMEOUT" | "RATE_LIMITED" | "TOOL_MISSING" | "TOOL_FAILED" | "SKIPPED", message: String! }
  }]!
}

Throughputs are megabits (10^6) per second of payload. A figure that was not measured is null or absent, never 0."""  # noqa: E501 - printed into the schema as it stands


def _parse_moment(value: Any) -> datetime:
    try:
        return parse_moment(value)
    except ValueError as error:
        raise GraphQLError(f"DateTime {error}") from error


def _parse_uuid(value: Any) -> UUID:
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise _refused("UUID", "such as 0190b1c2-7d3e-7a44-8f5b-2c6d7e8f9a0b")


def _parse_big_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    raise _refused("BigInt", "a whole number of at most 63 bits")


def _refused(scalar: str, shape: str) -> GraphQLError:
    return GraphQLError(f"{scalar} must be {shape}")


def _as_it_is(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment as RFC 3339 with an offset, e.g. 2026-11-24T06:00:00+01:00. "
        "Answers are in UTC. Date-only and naive values are refused.",
        serialize=format_moment,
        parse_value=_parse_moment,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number beyond 32 bits, as a JSON number: bytes.",
        serialize=int,
        parse_value=_parse_big_int,
    ),
    UUID: strawberry.scalar(name="UUID", serialize=str, parse_value=_parse_uuid),
    RunInput: strawberry.scalar(
        name="RunInput",
        description=RUN_INPUT_DESCRIPTION,
        serialize=_as_it_is,
        parse_value=_as_it_is,
    ),
}
