"""A strict stand-in for the service's way in: one operation, executed by graphql-core against
the committed schema, every field of a run checked, runs kept by their UUID.

For tests of the probe alone; the system tests use the real service.
"""

import gzip
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from graphql import build_schema, graphql_sync

from tests.lab.http11 import Handler, Server, serving

SCHEMA_FILE = Path(__file__).parents[2] / "graph" / "schema.graphql"
KEY = "lab-key-of-a-probe"
RUN_FIELDS = {"id", "probe", "startedAt", "finishedAt", "conditions", "measurements"}
CONDITION_FIELDS = {
    "lineUp", "medium", "crossTrafficMbps", "cpuPercent", "publicIpHash", "platform",
    "probeVersion", "linkMbps", "vpn", "onBattery", "clockOffsetMs", "notes",
    "crossTrafficDownMbps", "crossTrafficUpMbps", "cpuWaitPercent",
}  # fmt: skip
FIGURE_FIELDS = {
    "downloadMbps", "uploadMbps", "latencyMs", "jitterMs", "packetLossRatio",
    "loadedLatencyDownMs", "loadedLatencyUpMs",
}  # fmt: skip
MEASUREMENT_FIELDS = FIGURE_FIELDS | {
    "tool", "toolVersion", "startedAt", "durationS", "bytesReceived", "bytesSent", "server",
    "resultUrl", "failure",
}  # fmt: skip
KINDS = {"NO_NETWORK", "TIMEOUT", "RATE_LIMITED", "TOOL_MISSING", "TOOL_FAILED", "SKIPPED"}


@dataclass(slots=True)
class Ledger:
    """What has arrived, and what to answer."""

    runs: dict[UUID, Mapping[str, Any]] = field(default_factory=dict)
    submissions: int = 0
    refused_probe: str | None = None
    error: str | None = None
    status: int = 200
    largest_batch: int = 1000
    takes_gzip: bool = True
    clock_ahead_s: float = 0
    plan: Mapping[str, Any] | None = None
    beats: list[Mapping[str, Any]] = field(default_factory=list)
    encodings: list[str | None] = field(default_factory=list)


class CollectorServer(Server):
    """Keeps runs in a ledger that outlives it, so that it can be down for a while."""

    def __init__(self, ledger: Ledger, port: int) -> None:
        super().__init__(("127.0.0.1", port), _CollectorHandler)
        self.ledger = ledger
        self.schema = build_schema(SCHEMA_FILE.read_text(encoding="utf-8"))


class _CollectorHandler(Handler):
    server: CollectorServer

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ledger = self.server.ledger
        ledger.encodings.append(self.headers.get("Content-Encoding"))
        if ledger.encodings[-1] == "gzip":
            if not ledger.takes_gzip:
                self._json({}, 415)
                return
            body = gzip.decompress(body)
        if self.headers.get("X-API-Key") != KEY:
            self._json({"error": {"code": "UNAUTHENTICATED", "message": "unknown key"}}, 401)
        elif ledger.status != 200:
            self._json({}, ledger.status)
        elif self.path != "/graphql":
            self._json({}, 404)
        else:
            self._json(self._execute(json.loads(body)), 200)

    def _execute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        ledger = self.server.ledger
        result = graphql_sync(
            self.server.schema,
            request["query"],
            {
                "submitRuns": lambda _info, runs: _submit(ledger, runs),
                "heartbeat": lambda _info, **beat: _heard(ledger, beat),
                "probe": lambda _info, **_name: ledger.plan,
            },
            variable_values=request["variables"],
            operation_name=request["operationName"],
        )
        return dict(result.formatted)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, by a clock that may be wrong."""
        return super().date_time_string(
            (timestamp or time.time()) + self.server.ledger.clock_ahead_s
        )

    def _json(self, document: Mapping[str, Any], status: int) -> None:
        self.answer(json.dumps(document).encode(), status, "application/json")


def _heard(ledger: Ledger, beat: Mapping[str, Any]) -> bool:
    ledger.beats.append(beat)
    return any(run["probe"] == beat["probe"] for run in ledger.runs.values())


def _submit(ledger: Ledger, runs: list[Mapping[str, Any]]) -> dict[str, Any]:
    ledger.submissions += 1
    if len(runs) > ledger.largest_batch:
        raise ValueError("too many runs at once")
    if ledger.error is not None:
        raise ValueError(ledger.error)
    result: dict[str, list[Any]] = {"accepted": [], "duplicates": [], "rejected": []}
    for index, run in enumerate(runs):
        try:
            _check(run, ledger.refused_probe)
        except ValueError as error:
            name, _, message = str(error).partition(": ")
            entry = {"id": run["id"], "index": index, "field": name, "message": message}
            result["rejected"].append(entry)
            continue
        known = UUID(run["id"]) in ledger.runs
        result["duplicates" if known else "accepted"].append(run["id"])
        ledger.runs.setdefault(UUID(run["id"]), run)
    return result


def _check(run: Mapping[str, Any], refused_probe: str | None) -> None:
    """Raises ValueError("field: what") for whatever the schema's text does not allow."""
    if run["probe"] == refused_probe:
        raise ValueError("probe: not yours")
    _only("", run, RUN_FIELDS)
    _moment("startedAt", run["startedAt"])
    _moment("finishedAt", run["finishedAt"])
    _only("conditions.", run["conditions"], CONDITION_FIELDS)
    for index, measurement in enumerate(run["measurements"]):
        path = f"measurements[{index}]."
        _only(path, measurement, MEASUREMENT_FIELDS)
        _moment(path + "startedAt", measurement["startedAt"])
        for name in FIGURE_FIELDS & measurement.keys():
            if not measurement[name] >= 0:
                raise ValueError(f"{path}{name}: negative")
        failure = measurement.get("failure")
        if failure is not None and failure["kind"] not in KINDS:
            raise ValueError(f"{path}failure.kind: unknown")


def _only(path: str, value: Mapping[str, Any], allowed: set[str]) -> None:
    for name in value.keys() - allowed:
        raise ValueError(f"{path}{name}: unknown field")


def _moment(path: str, text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{path}: no offset")


@contextmanager
def collector(ledger: Ledger, port: int = 0) -> Iterator[CollectorServer]:
    """A running collector."""
    server = CollectorServer(ledger, port)
    with serving(server):
        yield server
