"""The channels as people see them: which bots live and how they are, what waits, and their tests.

A test is one real message to the subscriber, asked for by a person and sent by a bot of the channel
with its own settings. It is no notice: it concerns no breach, counts against nobody's limits, and a
bot has no way to send it to anybody else. It is tried once: whoever wants another asks again.
"""

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from speedtrap_graph.errors import BadInputError, ConflictError
from speedtrap_graph.rules.permission import NoticeStatus
from speedtrap_graph.services.notices.content import check_channel
from speedtrap_graph.services.notices.outcomes import SettleOutcome
from speedtrap_graph.services.notices.records import Records
from speedtrap_graph.store.database import Row, Store
from speedtrap_graph.store.documents import (
    NOTICES_OF_A_CHANNEL,
    ChannelTestDocument,
    ChannelWorkerDocument,
)

ALIVE_FOR = timedelta(seconds=60)
"""Bots say how they are every 20 s."""
REMEMBERED_FOR = timedelta(days=30)
TAKEN_WITHIN = timedelta(minutes=5)
"""A test comes at once or not at all: hours later nobody would know what it is."""
ENDS_WITHIN = timedelta(minutes=5)
_LONGEST_TEXT = 1000
_LONGEST_RECIPIENT = 320


NO_RECIPIENT = (
    "nobody is configured to get this: set the channel's recipient and server (for mail"
    " SPEEDTRAP_BOTS_MAIL_TO, _HOST and _FROM), and the bot plans it anew"
)
CANNOT_SEND = (
    "the channel's bot says that it cannot send: set its recipient and server (for mail"
    " SPEEDTRAP_BOTS_MAIL_TO, _HOST and _FROM), and start it again"
)


class ChannelState(StrEnum):
    STOPPED = "STOPPED"
    READY = "READY"
    QUIET = "QUIET"
    UNCONFIGURED = "UNCONFIGURED"
    ENDED = "ENDED"


class ChannelTestState(StrEnum):
    ASKED = "ASKED"
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"


_ENDS_AS = {
    SettleOutcome.SENT: ChannelTestState.SENT,
    SettleOutcome.UNAVAILABLE: ChannelTestState.FAILED,
    SettleOutcome.REFUSED: ChannelTestState.FAILED,
    SettleOutcome.UNKNOWN: ChannelTestState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """`id` tells it from the tests of this channel before it."""

    id: str
    channel: str
    state: ChannelTestState
    asked_at: datetime
    asked_by: str
    ended_at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """What a bot says of itself."""

    channel: str
    worker: str
    state: ChannelState
    recipient: str = ""
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """`state` is None while no bot of it was ever heard of. `counts` are of its notices."""

    name: str
    workers: int
    last_seen_at: datetime | None
    state: ChannelState | None
    since: datetime | None
    why: str | None
    recipient: str
    needs_leave: bool
    counts: Mapping[str, int]
    last_test: ChannelTest | None

    def count(self, *statuses: NoticeStatus) -> int:
        return sum(self.counts.get(status, 0) for status in statuses)


async def unable(store: Store, now: datetime, names: Collection[str]) -> set[str]:
    """Those of the channels whose bots' last word was that they have nobody to write to."""
    workers: dict[str, list[ChannelWorkerDocument]] = defaultdict(list)
    wanted = {"channel": {"$in": sorted(names)}}
    for row in await store["channel_workers"].find(wanted).to_list():
        workers[row["channel"]].append(ChannelWorkerDocument.model_validate(row))
    shown = {name: _shown(found, now) for name, found in workers.items()}
    return {
        name
        for name, worker in shown.items()
        if worker is not None and worker.state == ChannelState.UNCONFIGURED
    }


def obstacle(recipient: str, *, is_unable: bool) -> str | None:
    """Why a notice could not be sent as its channel is now, if so."""
    if not recipient:
        return NO_RECIPIENT
    return CANNOT_SEND if is_unable else None


@dataclass(frozen=True)
class Channels(Records):
    async def report(self, report: ChannelReport) -> None:
        """Keeps what a bot says of itself, and since when that is so."""
        _check(report)
        now = self.clock()
        said: Row = {
            "channel": report.channel,
            "worker": report.worker,
            "state": report.state.value,
            "why": report.why,
            "recipient": report.recipient,
            "seen_at": now,
        }
        as_before = {
            "$and": [
                {"$eq": ["$state", said["state"]]},
                {"$eq": [{"$ifNull": ["$why", None]}, {"$literal": said["why"]}]},
            ]
        }
        fields = {name: {"$literal": value} for name, value in said.items()}
        fields["since"] = {"$cond": [as_before, "$since", now]}
        workers = self.store["channel_workers"]
        key = f"{report.channel}/{report.worker}"
        await workers.update_one({"_id": key}, [{"$set": fields}], upsert=True)
        gone = {"channel": report.channel, "seen_at": {"$lt": now - REMEMBERED_FOR}}
        await workers.delete_many(gone)

    async def all(self) -> list[Channel]:
        """Those that a bot was heard of or that have notices, by name."""
        workers: dict[str, list[ChannelWorkerDocument]] = defaultdict(list)
        for worker in await ChannelWorkerDocument.find_all().to_list():
            workers[worker.channel].append(worker)
        counts = await self._counts()
        tests = {row.id: self._test(row) for row in await ChannelTestDocument.find_all().to_list()}
        names = sorted({*workers, *counts})
        return [
            self._channel(name, workers[name], counts.get(name, {}), tests.get(name))
            for name in names
        ]

    async def ask_for_test(self, channel: str, by: str) -> ChannelTest:
        """A test through *channel*, or the one that is still under way."""
        check_channel(channel)
        if switch := await self.switched_off():
            raise ConflictError(f"all sending is switched off: {switch['reason']}")
        alive = {"channel": channel, "seen_at": {"$gt": self.clock() - ALIVE_FOR}}
        alive["state"] = {"$ne": ChannelState.ENDED.value}
        if not await self.store["channel_workers"].find_one(alive):
            raise ConflictError(
                f"no bot of the channel {channel} is running: start one with"
                f" `speedtrap bots run --channel {channel}`",
                field="channel",
            )
        now = self.clock()
        asked: Row = {
            "test": secrets.token_hex(8),
            "state": ChannelTestState.ASKED.value,
            "asked_at": now,
            "asked_by": by,
            "worker": None,
            "claimed_at": None,
            "ended_at": None,
            "why": None,
        }
        tests = self.store["channel_tests"]
        # A duplicate key: one is under way, and that is the answer.
        with contextlib.suppress(DuplicateKeyError):
            await tests.update_one(
                {"_id": channel, "$nor": _under_way(now)}, {"$set": asked}, upsert=True
            )
        return await self._last_test(channel)

    async def claim_test(self, channel: str, worker: str) -> ChannelTest | None:
        """The test that *worker* is to send now, once; None when nobody asked for one."""
        if await self.switched_off():
            return None
        now = self.clock()
        taken: Row = {
            "state": ChannelTestState.SENDING.value,
            "worker": worker,
            "claimed_at": now,
        }
        row = await self.store["channel_tests"].find_one_and_update(
            {"_id": channel, **_waiting(now)},
            {"$set": taken},
            return_document=ReturnDocument.AFTER,
        )
        return None if row is None else self._test(ChannelTestDocument.model_validate(row))

    async def settle_test(
        self, channel: str, test: str, outcome: SettleOutcome, why: str | None
    ) -> ChannelTest:
        """How it ended, by the only bot that knows."""
        ended = _ENDS_AS.get(outcome)
        if ended is None:
            allowed = [known.value for known in _ENDS_AS]
            raise BadInputError("a test cannot end so", field="outcome", allowed=allowed)
        _check_text("why", why)
        sending = {"_id": channel, "test": test, "state": ChannelTestState.SENDING.value}
        fields: Row = {"state": ended.value, "why": why, "ended_at": self.clock()}
        changed = await self.store["channel_tests"].update_one(sending, {"$set": fields})
        found = await self._last_test(channel)
        if changed.matched_count == 0 and (found.id, found.state) != (test, ended):
            raise ConflictError("this test is not under way any more", field="id")
        return found

    async def _last_test(self, channel: str) -> ChannelTest:
        found = await ChannelTestDocument.get(channel)
        if found is None:
            raise ConflictError(f"no test of the channel {channel[:64]!r} was asked for")
        return self._test(found)

    def _test(self, row: ChannelTestDocument) -> ChannelTest:
        """As it is by now: what nobody took or ended in time is told from what goes on."""
        test = ChannelTest(
            id=row.test,
            channel=row.id,
            state=ChannelTestState(row.state),
            asked_at=row.asked_at,
            asked_by=row.asked_by,
            ended_at=row.ended_at,
            why=row.why,
        )
        now = self.clock()
        if test.state is ChannelTestState.ASKED and row.asked_at <= now - TAKEN_WITHIN:
            why = "no bot of this channel took it: nothing was sent"
            ended = row.asked_at + TAKEN_WITHIN
            return replace(test, state=ChannelTestState.EXPIRED, ended_at=ended, why=why)
        begun = row.claimed_at or row.asked_at
        if test.state is ChannelTestState.SENDING and begun <= now - ENDS_WITHIN:
            why = "the bot fell silent while sending: it may have arrived"
            ended = begun + ENDS_WITHIN
            return replace(test, state=ChannelTestState.UNKNOWN, ended_at=ended, why=why)
        return test

    def _channel(
        self,
        name: str,
        workers: Sequence[ChannelWorkerDocument],
        counts: Mapping[str, int],
        test: ChannelTest | None,
    ) -> Channel:
        alive = [worker for worker in workers if _is_alive(worker, self.clock())]
        newest = max(workers, key=lambda worker: worker.seen_at, default=None)
        shown = _shown(workers, self.clock())
        return Channel(
            name=name,
            workers=len(alive),
            last_seen_at=None if newest is None else newest.seen_at,
            state=None if shown is None else ChannelState(shown.state),
            since=None if shown is None else shown.since,
            why=None if shown is None else shown.why,
            recipient="" if shown is None else shown.recipient,
            needs_leave=name not in self.terms.auto_approve | self.terms.owner_channels,
            counts=counts,
            last_test=test,
        )

    async def _counts(self) -> dict[str, dict[str, int]]:
        """Of notices, by channel and status; from the index alone: a notice has megabytes."""
        fields = [name for name, _ in NOTICES_OF_A_CHANNEL]
        group = {"_id": {"channel": "$channel", "status": "$status"}, "n": {"$sum": 1}}
        found = await self.store["notices"].aggregate(
            [{"$sort": dict.fromkeys(fields, 1)}, {"$group": group}],
            hint=dict(NOTICES_OF_A_CHANNEL),
        )
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        async for row in found:
            counts[row["_id"]["channel"]][row["_id"]["status"]] = row["n"]
        return counts


def _is_alive(worker: ChannelWorkerDocument, now: datetime) -> bool:
    return worker.state != ChannelState.ENDED and worker.seen_at > now - ALIVE_FOR


def _shown(workers: Sequence[ChannelWorkerDocument], now: datetime) -> ChannelWorkerDocument | None:
    """What a person must act on comes before what runs well; else the last that was heard of."""
    alive = [worker for worker in workers if _is_alive(worker, now)]
    newest = max(workers, key=lambda worker: worker.seen_at, default=None)
    order = list(ChannelState)
    return min(alive, key=lambda w: (order.index(ChannelState(w.state)), w.id), default=newest)


def _waiting(now: datetime) -> Row:
    return {"state": ChannelTestState.ASKED.value, "asked_at": {"$gt": now - TAKEN_WITHIN}}


def _under_way(now: datetime) -> list[Row]:
    sending = {
        "state": ChannelTestState.SENDING.value,
        "claimed_at": {"$gt": now - ENDS_WITHIN},
    }
    return [_waiting(now), sending]


def _check(report: ChannelReport) -> None:
    check_channel(report.channel)
    if not 1 <= len(report.worker) <= 200:
        raise BadInputError("worker must have 1 to 200 characters", field="worker")
    if len(report.recipient) > _LONGEST_RECIPIENT:
        message = f"recipient is longer than {_LONGEST_RECIPIENT} characters"
        raise BadInputError(message, field="recipient")
    _check_text("why", report.why)


def _check_text(field: str, text: str | None) -> None:
    if len(text or "") > _LONGEST_TEXT:
        raise BadInputError(f"{field} is longer than {_LONGEST_TEXT} characters", field=field)
