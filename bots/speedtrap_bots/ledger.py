"""The ledger in graph, as the bots see it: packaged operations over HTTP and one WebSocket."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

import httpx
from gql import Client, GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportError, TransportQueryError, TransportServerError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus, WebSocketException

from speedtrap_bots.bounded import bounded
from speedtrap_bots.content import Content
from speedtrap_bots.errors import LedgerAway, LedgerError, LedgerFailed, LedgerRefused
from speedtrap_bots.model import (
    Breach,
    BreachEvent,
    BreachSummary,
    ChannelState,
    ChannelSummary,
    ChannelTest,
    Claim,
    Notice,
    ServiceReport,
    SettleOutcome,
    Stage,
    Stop,
)

REQUEST_TIMEOUT_S = 15.0
PING_EVERY_S = 20.0
LARGEST_EVENT_BYTES = 2**20
WINDOW_HOURS = 24
"""How far around a breach the letter shows the other runs."""
REPORT_BEFORE = timedelta(days=30)
"""How much of the time before the breach the letter sums up."""
MOMENT = timedelta(milliseconds=1)
NEWEST_BREACHES = 100

_OF_THIS_REQUEST = frozenset({400, 413, 415, 422})
"""The same request would be answered so for ever."""

# At DEBUG these write every header of a handshake, and with it the key.
for _name in ("websockets.client", "httpcore", "gql.transport.websockets"):
    logging.getLogger(_name).setLevel(logging.INFO)
logging.getLogger("gql.transport.httpx").setLevel(logging.WARNING)


@cache
def _document(operation: str) -> GraphQLRequest:
    text = files("speedtrap_bots").joinpath("operations", f"{operation}.graphql").read_text("utf-8")
    return GraphQLRequest(text)


def _request(operation: str, variables: Mapping[str, Any]) -> GraphQLRequest:
    return GraphQLRequest(_document(operation), variable_values=_in_unicode(dict(variables)))


def _in_unicode(value: Any) -> Any:
    """With a mark in place of every lone surrogate: no request could carry one."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {name: _in_unicode(part) for name, part in value.items()}
        case list():
            return [_in_unicode(part) for part in value]
    return value


class Ledger:
    """A connection to graph. Use it as an async context manager; one serves all channels."""

    def __init__(self, base_url: str, key: str) -> None:
        self._url = f"{base_url}/graphql"
        self._headers = {"X-API-Key": key} if key else {}
        self._stack = AsyncExitStack()
        self._session: AsyncClientSession | None = None

    async def __aenter__(self) -> Self:
        transport = HTTPXAsyncTransport(
            self._url,
            headers=self._headers,
            timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,
            event_hooks=bounded(),
        )
        client = Client(transport=transport, execute_timeout=REQUEST_TIMEOUT_S)
        self._session = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def breaches(self) -> list[BreachSummary]:
        """Open and resolved breaches, the newest NEWEST_BREACHES."""
        answer = await self._ask("OpenBreaches", first=NEWEST_BREACHES)
        return [BreachSummary.model_validate(node) for node in answer["breaches"]["nodes"]]

    async def evidence(self, breach_id: str) -> Breach | None:
        """The breach with all its runs and the month before; None when there is none (any more)."""
        answer = await self._ask("Evidence", id=breach_id, hours=WINDOW_HOURS)
        if not answer["breach"]:
            return None
        breach = Breach.model_validate(answer["breach"])
        report = await self._ask(
            "Report",
            probe=breach.probe,
            since=(breach.first_run_at - REPORT_BEFORE).isoformat(),
            # What comes later is left out, so that the same breach always reads the same.
            until=((breach.resolved_at or breach.last_run_at) + MOMENT).isoformat(),
        )
        return breach.model_copy(
            update={"report": ServiceReport.model_validate(report["serviceReport"])}
        )

    async def plan(
        self,
        breach_id: str,
        *,
        stage: Stage,
        channel: str,
        recipient: str,
        content: Content,
        covers: Sequence[str] = (),
    ) -> Notice:
        """Writes the notice down, frozen. The same again gives back the first."""
        notice = {
            "breach": breach_id,
            "stage": stage.value,
            "channel": channel,
            "recipient": recipient,
            "subject": content.subject,
            "text": content.text,
            "html": content.html,
            "covers": list(covers),
            "attachments": [
                {
                    "name": file.name,
                    "mediaType": file.media_type,
                    "altText": file.alt_text,
                    "contentBase64": file.content_base64,
                }
                for file in content.files
            ],
        }
        answer = await self._ask("PlanNotice", notice=notice)
        return Notice.model_validate(answer["planNotice"])

    async def claim(self, channel: str, worker: str) -> Claim | None:
        """A lease on the next notice that is due in *channel*."""
        answer = await self._ask("ClaimNotice", channel=channel, worker=worker)
        return Claim.model_validate(answer["claimNotice"]) if answer["claimNotice"] else None

    async def claim_check(self, channel: str, worker: str) -> Claim | None:
        """A lease on looking up the next notice of *channel* whose outcome is unknown."""
        answer = await self._ask("ClaimCheck", channel=channel, worker=worker)
        return Claim.model_validate(answer["claimCheck"]) if answer["claimCheck"] else None

    async def due_for_digest(self, channel: str, recipient: str) -> list[str]:
        """The breaches that a digest to *recipient* should tell of now; mostly none."""
        answer = await self._ask("DueForDigest", channel=channel, recipient=recipient)
        return [str(breach["id"]) for breach in answer["dueForDigest"]]

    async def begin(self, claim: Claim) -> bool:
        """Records that the first byte is about to leave; False: it must not."""
        answer = await self._ask("BeginSending", id=claim.notice.id, fence=claim.fence)
        return bool(answer["beginSending"])

    async def settle(
        self,
        claim: Claim,
        outcome: SettleOutcome,
        *,
        reference: str | None = None,
        detail: str | None = None,
        retry_at: datetime | None = None,
    ) -> str:
        """Records how the delivery ended; returns the notice's status."""
        answer = await self._ask(
            "SettleNotice",
            id=claim.notice.id,
            fence=claim.fence,
            outcome=outcome.value,
            reference=reference,
            detail=detail,
            retryAt=retry_at.isoformat() if retry_at else None,
        )
        return str(answer["settleNotice"]["status"])

    async def cursor(self, consumer: str) -> str | None:
        """Where *consumer* got to in the events; None before its first."""
        answer = await self._ask("EventCursor", consumer=consumer)
        return None if answer["eventCursor"] is None else str(answer["eventCursor"])

    async def save_cursor(self, consumer: str, cursor: str) -> None:
        await self._ask("SaveEventCursor", consumer=consumer, cursor=cursor)

    async def notices(self, status: list[str] | None, first: int) -> list[Notice]:
        answer = await self._ask("ListNotices", status=status, first=first)
        return [Notice.model_validate(node) for node in answer["notices"]["nodes"]]

    async def notice(self, notice_id: str) -> Notice | None:
        answer = await self._ask("ShowNotice", id=notice_id)
        return Notice.model_validate(answer["notice"]) if answer["notice"] else None

    async def approve(self, notice_id: str, digest: str) -> Notice:
        """Gives leave to send exactly what *digest* was computed over."""
        answer = await self._ask("ApproveNotice", id=notice_id, digest=digest)
        return Notice.model_validate(answer["approveNotice"])

    async def reject(self, notice_id: str, reason: str) -> Notice:
        answer = await self._ask("RejectNotice", id=notice_id, reason=reason)
        return Notice.model_validate(answer["rejectNotice"])

    async def resolve(self, notice_id: str, *, arrived: bool, reason: str) -> Notice:
        """A person's word about an unknown outcome."""
        answer = await self._ask("ResolveNotice", id=notice_id, arrived=arrived, reason=reason)
        return Notice.model_validate(answer["resolveNotice"])

    async def bounce(self, notice_id: str, detail: str) -> Notice:
        answer = await self._ask("RecordBounce", id=notice_id, detail=detail)
        return Notice.model_validate(answer["recordBounce"])

    async def stop(self, recipient: str, reason: str) -> Stop:
        """No more to *recipient*, ever."""
        answer = await self._ask("StopRecipient", recipient=recipient, reason=reason)
        return Stop.model_validate(answer["stopRecipient"])

    async def stops(self) -> list[Stop]:
        answer = await self._ask("Stops")
        return [Stop.model_validate(stop) for stop in answer["stops"]]

    async def report(
        self, channel: str, worker: str, state: ChannelState, recipient: str, why: str | None
    ) -> None:
        """How *channel* is, by this worker."""
        await self._ask(
            "ReportChannel",
            channel=channel,
            worker=worker,
            state=state.value,
            recipient=recipient,
            why=why,
        )

    async def channels(self) -> list[ChannelSummary]:
        answer = await self._ask("Channels")
        return [ChannelSummary.model_validate(channel) for channel in answer["channels"]]

    async def send_test(self, channel: str) -> ChannelTest:
        """Has a bot of *channel* send one; it is under way then."""
        answer = await self._ask("SendTest", channel=channel)
        return ChannelTest.model_validate(answer["sendTest"])

    async def claim_test(self, channel: str, worker: str) -> str | None:
        """The id of the test that this worker is to send now."""
        answer = await self._ask("ClaimTest", channel=channel, worker=worker)
        return str(answer["claimTest"]["id"]) if answer["claimTest"] else None

    async def settle_test(self, channel: str, test: str, outcome: SettleOutcome, why: str) -> None:
        await self._ask("SettleTest", channel=channel, id=test, outcome=outcome.value, why=why)

    async def set_sending(self, *, on: bool, reason: str) -> None:
        await self._ask("SetSending", on=on, reason=reason)

    async def breach_of(self, reference: str) -> str:
        """The id of the breach that *reference* (or an id) names."""
        answer = await self._ask("FindBreach", first=500)
        nodes = answer["breaches"]["nodes"]
        found = [n["id"] for n in nodes if reference.upper() == n["reference"]]
        return str(found[0]) if found else reference

    async def events(self, after: str) -> AsyncIterator[BreachEvent]:
        """Breach events behind the cursor *after*, as they happen. Close it with `aclosing`."""
        transport = WebsocketsTransport(
            self._url.replace("http", "ws", 1),
            headers=self._headers,
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
            ssl=self._url.startswith("https://"),
            ping_interval=PING_EVERY_S,
            pong_timeout=PING_EVERY_S / 2,
            close_timeout=1,
            connect_args={"max_size": LARGEST_EVENT_BYTES, "compression": None},
        )
        try:
            async with Client(transport=transport) as session:
                answers = session.subscribe(_request("BreachEvents", {"after": after}))
                async with aclosing(answers) as stream:
                    async for answer in stream:
                        yield BreachEvent.model_validate(answer["breaches"])
        except (
            TransportError,
            OSError,
            TimeoutError,
            WebSocketException,
            ValidationError,
        ) as error:
            raise _ledger_error(error, self._url) from error

    async def _ask(self, operation: str, **variables: Any) -> dict[str, Any]:
        if self._session is None:
            raise LedgerAway("the ledger is not connected")
        try:
            answer = await self._session.execute(_request(operation, variables))
        except (TypeError, LookupError, AssertionError, RecursionError):
            # gql takes for granted that an answer is an object and its errors a list.
            raise LedgerAway(f"{self._url} answered what is no GraphQL response") from None
        except (
            TransportError,
            httpx.HTTPError,
            httpx.InvalidURL,
            OSError,
            TimeoutError,
        ) as error:
            raise _ledger_error(error, self._url) from error
        if not isinstance(answer, dict):
            raise LedgerAway(f"{self._url} answered without data")
        return answer


def _ledger_error(error: Exception, url: str) -> LedgerError:
    """What *error* means for the caller, without headers or bodies in its text."""
    if isinstance(error, TransportQueryError):
        return _query_error(error)
    if (status := _http_status(error)) is not None:
        return _status_error(status, url)
    if isinstance(error, ValidationError):
        return LedgerAway(f"{url} answered in a form that this version does not know")
    if isinstance(error, TimeoutError | asyncio.TimeoutError | httpx.TimeoutException):
        return LedgerAway(f"{url} did not answer in time")
    return LedgerAway(f"{url} cannot be reached ({type(error).__name__})")


def _status_error(status: int, url: str) -> LedgerError:
    if status == 401:
        return LedgerRefused(f"{url} does not accept the key", code="UNAUTHENTICATED")
    if status in _OF_THIS_REQUEST:
        return LedgerRefused(f"{url} answered HTTP {status}")
    return LedgerAway(f"{url} answered HTTP {status}")


def _http_status(error: Exception) -> int | None:
    if isinstance(error, TransportServerError):
        return error.code
    causes: list[BaseException | None] = [error, error.__cause__, error.__context__]
    for cause in causes:
        if isinstance(cause, InvalidStatus):
            return cause.response.status_code
    return None


def _query_error(error: TransportQueryError) -> LedgerError:
    first = error.errors[0] if isinstance(error.errors, list) and error.errors else None
    if not isinstance(first, dict) or not isinstance(first.get("extensions") or {}, dict):
        return LedgerAway("graph answered with an error that is none of GraphQL")
    code = str((first.get("extensions") or {}).get("code", ""))
    message = str(first.get("message", "the query failed"))
    if code == "INTERNAL":
        return LedgerFailed(f"graph failed: {message}")
    return LedgerRefused(message, code=code)
