"""Brings runs to the service: at least once from here, stored once there by their UUID."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from speedtrap_probe import __version__
from speedtrap_probe.errors import UndeliveredError
from speedtrap_probe.model import Run, to_json
from speedtrap_probe.operations import SUBMIT_RUNS
from speedtrap_probe.outbox import Outbox, Rejected

BATCH = 50
PASSED_BY_LIMIT = 5  # more than a few bad runs in one go are the service's trouble
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said of each run of a batch."""

    stored: Sequence[UUID]  # now, or before
    rejected: Sequence[Rejected]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How emptying the outbox went. `problem` says why runs still wait."""

    stored: int
    waiting: int
    rejected: Sequence[Rejected] = field(default_factory=tuple)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """Where runs go, and the key that lets us in."""

    url: str
    key: str = field(repr=False)
    proxy: str | None = None

    def submit(self, runs: Sequence[Run]) -> Answer:
        """Raises UndeliveredError when the service did not answer for each run."""
        variables = {"runs": [to_json(run) for run in runs]}
        body = {"operationName": "SubmitRuns", "query": SUBMIT_RUNS, "variables": variables}
        headers = {"X-API-Key": self.key, "User-Agent": f"speedtrap-probe/{__version__}"}
        endpoint = f"{self.url.rstrip('/')}/graphql"
        limits = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with httpx.Client(trust_env=False, proxy=self.proxy, timeout=limits) as client:
                response = client.post(endpoint, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise UndeliveredError(f"the service at {self.url} cannot be reached: {why}") from error
        return _answer(runs, self._data(response))

    def _data(self, response: httpx.Response) -> Mapping[str, Any]:
        _check_status(self.url, response.status_code)
        try:
            document = response.json()
        except json.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise UndeliveredError(f"{self.url} is no speedtrap service: its answer is no GraphQL")
        if errors := document.get("errors"):
            raise _refusal(errors[0])
        return dict(document["data"]["submitRuns"])


def deliver(outbox: Outbox, service: Service) -> Delivery:
    """Sends what waits, oldest first, in batches, until the outbox is empty or stuck."""
    stored, rejected = 0, list[Rejected]()
    problem: str | None = None
    size, behind, passed_by = BATCH, None, 0
    while runs := outbox.waiting(size, behind):
        try:
            answer = service.submit(runs)
        except UndeliveredError as error:
            problem = str(error)
            if not error.divisible:
                break
            # One run may be what the service chokes on: find it, and pass it by.
            if len(runs) == 1:
                behind, passed_by = runs[0].id, passed_by + 1
            if passed_by == PASSED_BY_LIMIT:
                break
            size = max(1, len(runs) // 2)
            continue
        outbox.acknowledged(answer.stored)
        outbox.reject(answer.rejected)
        stored += len(answer.stored)
        rejected += answer.rejected
    return Delivery(stored, len(outbox), rejected, problem)


def _check_status(url: str, status: int) -> None:
    if status == 401:
        raise UndeliveredError(f"the service at {url} does not know this key (HTTP 401)")
    if status == 403:
        raise UndeliveredError(f"the service at {url} does not let this key submit runs (HTTP 403)")
    if status == 413:
        raise UndeliveredError(f"the service at {url} finds the runs too large", divisible=True)
    # A GraphQL service says what is wrong in a JSON body with 400 or 500.
    if status not in (200, 400, 500):
        raise UndeliveredError(f"the service at {url} answered HTTP {status}")


def _refusal(error: Mapping[str, Any]) -> UndeliveredError:
    message = error.get("message", "no reason given")
    code = (error.get("extensions") or {}).get("code")
    if code == "FORBIDDEN":
        return UndeliveredError(f"this key may not submit these runs: {message}")
    return UndeliveredError(f"the service refused the runs: {message}", divisible=True)


def _answer(runs: Sequence[Run], data: Mapping[str, Any]) -> Answer:
    stored = [UUID(id_) for id_ in (*data["accepted"], *data["duplicates"])]
    rejected = [
        Rejected(runs[entry["index"]], f"{entry['field']}: {entry['message']}")
        for entry in data["rejected"]
    ]
    answered = {*stored, *(one.run.id for one in rejected)}
    if not answered.issuperset(run.id for run in runs):
        raise UndeliveredError("the service did not answer for every run", divisible=True)
    return Answer(stored, rejected)
