"""Whatever breaks, a follower is told every event once and in order: by cursor, not by luck."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from bson import Timestamp
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from speedtrap_graph.services.read.events import QUEUE_LENGTH, Events
from speedtrap_graph.store.database import Session, Store
from speedtrap_graph.store.events import PendingEvent, append_events, last_seq

from tests.graph.following import Follower, following
from tests.lab.mongo import Mongod, running_mongod
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.waiting import until
from tests.lab.wire import PLAN, SET_PLAN

CAPPED_POSITION_LOST = 136
NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def test_followers_miss_nothing_while_graph_and_mongod_are_killed(tmp_path: Path) -> None:
    with (
        running_mongod(tmp_path / "db") as mongod,
        running_service(mongod, "speedtrap", tmp_path / "service") as service,
    ):
        await asyncio.to_thread(service.query, SET_PLAN, {"plan": PLAN})
        steady = Follower(service)
        slow = Follower(service, pause_s=0.05)
        restless = Follower(service, leaves_after=3)
        async with following(steady, slow, restless):
            await submit_one_by_one(service, 10)
            service.kill()
            await asyncio.to_thread(service.start)
            await submit_one_by_one(service, 10)
            mongod.kill()
            await asyncio.to_thread(mongod.start)
            await submit_one_by_one(service, 10)
            newest = 3 * 5
            for follower in (steady, slow, restless):
                await follower.until(newest)
                assert follower.cursors == list(range(1, newest + 1))
        assert steady.connections == 2  # the killed mongod cost it nothing


async def submit_one_by_one(service: Service, count: int) -> None:
    """The first five say nothing, each further one is an event."""
    probe = f"line-{datetime.now(UTC):%H%M%S%f}"
    for run in slow_runs(count, probe=probe):
        await asyncio.to_thread(service.query, SUBMIT, {"runs": [run]})


async def test_when_the_oplog_no_longer_reaches_back_the_events_are_replayed(
    tmp_path: Path,
) -> None:
    """The service sleeps while its place in a tiny oplog is overwritten (ChangeStreamHistoryLost);
    a second copy goes on, so that there is something to miss.
    """
    with (
        running_mongod(tmp_path / "db", oplog_mb=1, arguments=("--syncdelay=1",)) as mongod,
        running_service(mongod, "speedtrap", tmp_path / "service") as asleep,
        running_service(mongod, "speedtrap", tmp_path / "service") as awake,
    ):
        await asyncio.to_thread(awake.query, SET_PLAN, {"plan": PLAN})
        follower = Follower(asleep)
        async with following(follower):
            await submit_one_by_one(awake, 6)
            await follower.until(1)
            assert asleep.process is not None
            asleep.process.send_signal(signal.SIGSTOP)
            try:
                await submit_one_by_one(awake, 8)
                await asyncio.to_thread(overwrite_the_oplog, mongod)
            finally:
                asleep.process.send_signal(signal.SIGCONT)
            await follower.until(4)
            await submit_one_by_one(awake, 6)
            await follower.until(5)
        assert follower.cursors == [1, 2, 3, 4, 5]
        assert "the change stream broke off" in asleep.log.read_text()


def overwrite_the_oplog(mongod: Mongod) -> None:
    """Until its oldest entry is younger than all that there was."""
    with mongod.client() as client:
        oplog = client["local"]["oplog.rs"]
        newest = _end_of(oplog, -1)
        while _end_of(oplog, 1) <= newest:
            client["ballast"]["rows"].insert_many([{"b": b"x" * 200_000} for _ in range(8)])


def _end_of(oplog: Collection[dict[str, Any]], direction: int) -> Timestamp:
    while True:
        try:
            entry = oplog.find_one(sort=[("$natural", direction)])
        except OperationFailure as error:
            if error.code != CAPPED_POSITION_LOST:
                raise
            continue  # the entry was thrown away while it was read, which is what is wanted
        assert entry is not None
        return cast(Timestamp, entry["ts"])


@asynccontextmanager
async def watching(store: Store) -> AsyncIterator[Events]:
    events = Events(store)
    task = asyncio.create_task(events.watch())
    try:
        yield events
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def append(store: Store, count: int) -> None:
    async def work(session: Session) -> None:
        pending = [PendingEvent("GREW", "b", "laptop") for _ in range(count)]
        await append_events(store, session, pending, NOW)

    await store.transaction(work)


async def a_breach(store: Store) -> None:
    rule = {"id": "*/DOWNLOAD", "metric": "DOWNLOAD", "more_than": 5, "recovered_after": 1}
    plan = {"id": "*", "provider": "ISP", "download_mbps": 1e3, "time_zone": "UTC", "since": NOW}
    row: dict[str, Any] = {
        "_id": "b", "reference": "ST-000000", "probe": "laptop", "metric": "DOWNLOAD",
        "rule_key": "DOWNLOAD", "rule": rule, "plan": plan, "status": "OPEN", "bad_count": 6,
        "first_run_at": NOW, "opened_at": NOW, "last_run_at": NOW, "known_at": NOW,
        "first_run": "00000000-0000-0000-0000-000000000000", "subscribed_mbps": 1e3,
    }  # fmt: skip
    await store["breaches"].insert_one(row)


async def test_who_falls_behind_is_not_kept_in_memory_and_still_misses_nothing(
    store: Store,
) -> None:
    await a_breach(store)
    async with watching(store) as events:
        stream = events.breaches("0")
        await append(store, 1)
        seen = [(await anext(stream)).seq]
        # It takes nothing while more happens than its queue holds.
        for _ in range(4):
            await append(store, QUEUE_LENGTH)
        (subscriber,) = events._breaches
        await until(lambda: subscriber.lagged, timeout_s=30)
        assert subscriber.queue.qsize() <= QUEUE_LENGTH + 1
        total = 1 + 4 * QUEUE_LENGTH
        while len(seen) < total:
            seen.append((await anext(stream)).seq)
        await append(store, 1)
        seen.append((await anext(stream)).seq)
        assert seen == list(range(1, total + 2))
        await stream.aclose()


async def test_an_event_of_a_breach_that_somebody_removed_does_not_stop_the_rest(
    store: Store,
) -> None:
    await append(store, 1)
    await store["events"].update_one({"_id": 1}, {"$set": {"breach": "gone"}})
    await a_breach(store)
    async with watching(store) as events:
        stream = events.breaches("0")
        await append(store, 1)
        assert (await anext(stream)).seq == 2
        await stream.aclose()


async def test_a_number_that_is_missing_for_good_does_not_stop_the_rest(store: Store) -> None:
    """As a backup of the collections one by one may leave it."""
    await a_breach(store)
    await append(store, 3)
    await store["events"].delete_one({"_id": 3})
    async with watching(store) as events:
        stream = events.breaches("1")
        assert (await anext(stream)).seq == 2
        await append(store, 1)
        assert (await anext(stream)).seq == 4
        await stream.aclose()


async def test_a_stream_lives_through_a_database_that_is_dropped_and_made_anew(
    store: Store,
) -> None:
    await a_breach(store)
    async with watching(store) as events:
        await append(store, 1)
        stream = events.breaches(None)
        told = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.5)
        await store.client.drop_database(store.database.name)
        await store["counters"].insert_one({"_id": "events", "seq": 1})
        await a_breach(store)
        async with asyncio.timeout(30):
            while not told.done():
                await append(store, 1)
                await asyncio.sleep(0.3)
        assert told.result().seq >= 2
        await stream.aclose()
        assert await last_seq(store) >= 2
