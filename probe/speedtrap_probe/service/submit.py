"""Brings runs to the service: at least once from here, stored once there by their UUID."""

import asyncio
import gzip
import json
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from speedtrap_probe import __version__, clock
from speedtrap_probe.clock import Tick
from speedtrap_probe.errors import UndeliveredError
from speedtrap_probe.files.outbox import Outbox, Rejected, WaitingRun
from speedtrap_probe.foreign import text
from speedtrap_probe.model import Run, to_json
from speedtrap_probe.plan import Plan
from speedtrap_probe.service.operations import HEARTBEAT, PLAN, SUBMIT_RUNS

BATCH = 50
PASSED_BY_LIMIT = 5  # more than a few bad runs in one go are the service's trouble
TIMEOUT_S = 30.0  # of one read
WITHIN_S = 60.0  # one request in all
ANSWER_LIMIT = 1 << 20  # bytes; of a batch that was rejected run by run 20 kB
CONNECT_TIMEOUT_S = 5.0
COMPRESSED_FROM_BYTES = 1024
UNSUPPORTED_ENCODING = 415

_MESSAGE_CHARS = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said of each run of a batch."""

    stored: Sequence[UUID]  # now, or before
    before: Sequence[UUID]
    rejected: Sequence[Rejected]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How emptying the outbox went. `problem` says why runs still wait."""

    stored: int
    waiting: int
    rejected: Sequence[Rejected] = field(default_factory=tuple)
    problem: str | None = None
    before: Sequence[UUID] = field(default_factory=tuple)  # of those stored, what was there already
    unusable: bool = False  # the outbox, so that nobody knows what waits


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat says: who we are, and when the next run is due."""

    probe: str
    next_run_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the service made of a heartbeat. A probe of which it has no run yet is not `known`: then
    it has kept nothing of it."""

    offset_s: float | None
    known: bool


@dataclass(frozen=True, slots=True)
class _Reply:
    data: Mapping[str, Any]
    offset_s: float | None


@dataclass(frozen=True, slots=True)
class _Told:
    status: int
    date: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Service:
    """Where runs go, and the key that lets us in."""

    url: str
    key: str = field(repr=False)
    proxy: str | None = None
    within_s: float = WITHIN_S

    def submit(self, runs: Sequence[Run]) -> Answer:
        """Raises UndeliveredError when the service did not answer for each run."""
        variables = {"runs": [to_json(run) for run in runs]}
        reply = self._ask("SubmitRuns", SUBMIT_RUNS, variables)
        with self._understood():
            return _answer(runs, reply.data["submitRuns"])

    def heartbeat(self, beat: Beat) -> Heard:
        """Says that this probe lives; returns how far the service's clock is ahead, in seconds.

        Raises UndeliveredError when the service cannot be reached. That it refuses a heartbeat is
        no reason to keep runs from it.
        """
        due = beat.next_run_at.isoformat(timespec="milliseconds") if beat.next_run_at else None
        variables = {"probe": beat.probe, "nextRunAt": due}
        try:
            reply = self._ask("Heartbeat", HEARTBEAT, variables)
        except UndeliveredError as error:
            if not error.refused:
                raise
            log.debug("no heartbeat: %s", error)
            return Heard(error.clock_offset_s, known=True)
        return Heard(reply.offset_s, known=reply.data.get("heartbeat") is not False)

    def plan(self, probe: str) -> Plan | None:
        """What was purchased, or None if the service knows of none."""
        reply = self._ask("Plan", PLAN, {"probe": probe})
        with self._understood():
            return Plan.told(reply.data["probe"])

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Whatever is not as the schema has it is an answer that was not given."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            message = f"{self.url} answered otherwise than a speedtrap service ({error!r:.80})"
            raise UndeliveredError(message) from error

    def _ask(self, name: str, document: str, variables: Mapping[str, Any]) -> _Reply:
        body = {"operationName": name, "query": document, "variables": variables}
        sent_at = datetime.now(UTC)
        told = self._post(json.dumps(body, separators=(",", ":")).encode())
        _check_status(self.url, told.status)
        offset_s = clock.offset_s(told.date, sent_at, datetime.now(UTC))
        try:
            answer = json.loads(told.body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UndeliveredError(f"{self.url} is no speedtrap service: its answer is no GraphQL")
        with self._understood():
            if errors := answer.get("errors"):
                raise _refusal(errors[0], offset_s)
            return _Reply(dict(answer["data"]), offset_s)

    def _post(self, body: bytes) -> _Told:
        """Raises UndeliveredError, also when it takes too long in all."""
        try:
            # Cancelled from outside: httpx's own timeouts count each read, so that a service that
            # sends a byte now and then would never exceed them.
            return asyncio.run(self._in_time(body))
        except TimeoutError as error:
            message = f"the service at {self.url} had not answered after {self.within_s:g} s"
            raise UndeliveredError(message) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise UndeliveredError(f"the service at {self.url} cannot be reached: {why}") from error

    async def _in_time(self, body: bytes) -> _Told:
        """Compressed if that is worth it; once more as it is for a service that takes no gzip."""
        endpoint = f"{self.url.rstrip('/')}/graphql"
        headers = {
            "X-API-Key": self.key,
            "User-Agent": f"speedtrap-probe/{__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # what is packed has no size that can be seen
        }
        limits = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        async with (
            asyncio.timeout(self.within_s),
            httpx.AsyncClient(
                verify=_trusted(), trust_env=False, proxy=self.proxy, timeout=limits
            ) as client,
        ):
            if len(body) >= COMPRESSED_FROM_BYTES:
                packed = headers | {"Content-Encoding": "gzip"}
                told = await self._asked(client, endpoint, gzip.compress(body), packed)
                if told.status != UNSUPPORTED_ENCODING:
                    return told
            return await self._asked(client, endpoint, body, headers)

    async def _asked(
        self, client: httpx.AsyncClient, endpoint: str, body: bytes, headers: Mapping[str, str]
    ) -> _Told:
        kept = bytearray()
        async with client.stream("POST", endpoint, content=body, headers=headers) as response:
            async for piece in response.aiter_raw():
                kept += piece
                if len(kept) > ANSWER_LIMIT:
                    message = f"{self.url} answered with more than {ANSWER_LIMIT:,} bytes"
                    raise UndeliveredError(message)
            return _Told(response.status_code, response.headers.get("Date"), bytes(kept))


def deliver(
    outbox: Outbox,
    service: Service,
    beat: Beat | None = None,
    tick: Callable[[], Tick] = clock.tick,
) -> Delivery:
    """Sends what waits, oldest first, in batches, until the outbox is empty or stuck.

    With a *beat* the service hears of this probe first, and tells what time it is: runs whose clock
    was wrong are corrected on their way.
    """
    stored, rejected, before = 0, list[Rejected](), list[UUID]()
    problem: str | None = None
    size, behind, passed_by = BATCH, None, 0
    try:
        heard = service.heartbeat(beat) if beat is not None else Heard(None, known=True)
    except UndeliveredError as error:
        return Delivery(0, len(outbox), problem=str(error))
    while kept := outbox.kept(size, behind):
        runs = [_on_time(one, heard.offset_s, tick) for one in kept]
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
        before += answer.before
        rejected += answer.rejected
    _beat_again(service, beat if stored and not heard.known else None)
    return Delivery(stored, len(outbox), rejected, problem, before)


def _beat_again(service: Service, beat: Beat | None) -> None:
    """When the next run is due, of a probe that the service knows only since its first run."""
    if beat is not None and beat.next_run_at is not None:
        with suppress(UndeliveredError):
            service.heartbeat(beat)


def _trusted() -> ssl.SSLContext:
    """The public authorities, or what SSL_CERT_FILE or SSL_CERT_DIR name instead."""
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as error:
        message = f"what SSL_CERT_FILE or SSL_CERT_DIR name cannot be used: {error}"
        raise UndeliveredError(message) from error


def _on_time(kept: WaitingRun, offset_s: float | None, tick: Callable[[], Tick]) -> Run:
    if offset_s is None:
        return kept.run
    return clock.corrected(kept.run, kept.tick, datetime.now(UTC), offset_s, tick())


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


def _refusal(error: Mapping[str, Any], offset_s: float | None) -> UndeliveredError:
    message = text.passed(str(error.get("message", "no reason given")), _MESSAGE_CHARS)
    code = (error.get("extensions") or {}).get("code")
    forbidden = code == "FORBIDDEN"
    said = "this key may not submit these runs" if forbidden else "the service refused the runs"
    return UndeliveredError(
        f"{said}: {message}", divisible=not forbidden, refused=True, clock_offset_s=offset_s
    )


def _answer(runs: Sequence[Run], data: Mapping[str, Any]) -> Answer:
    before = [UUID(id_) for id_ in data["duplicates"]]
    stored = [*(UUID(id_) for id_ in data["accepted"]), *before]
    if not {run.id for run in runs}.issuperset(stored):
        raise ValueError("runs that were not sent")
    rejected = [
        Rejected(
            _at(runs, entry["index"]),
            text.passed(f"{entry['field']}: {entry['message']}", _MESSAGE_CHARS),
        )
        for entry in data["rejected"]
    ]
    answered = {*stored, *(one.run.id for one in rejected)}
    if not answered.issuperset(run.id for run in runs):
        raise UndeliveredError("the service did not answer for every run", divisible=True)
    return Answer(stored, before, rejected)


def _at(runs: Sequence[Run], index: object) -> Run:
    if not isinstance(index, int) or not 0 <= index < len(runs):
        raise ValueError(f"no run {index!r:.20}")
    return runs[index]
