"""A probe that falls silent is told once, however many copies look, and so is its return."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from speedtrap_graph.services.probes.silence import GRACE, SilenceWatch, beat, probe_events
from speedtrap_graph.store.database import Store, connect

from tests.lab.line import MIDNIGHT, Line, run_at
from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service, running_service
from tests.lab.wire import socket as open_socket

DUE = MIDNIGHT + timedelta(days=3)
EVENTS = '{ probeEvents(probe: "laptop") { cursor kind probe silentSince at } }'
PROBE = '{ probe(name: "laptop") { silent silentSince } }'
FOLLOW = 'subscription { probeEvents(after: "0") { cursor kind probe } }'


async def kinds(store: Store) -> list[str]:
    return [row["kind"] for row in reversed(await probe_events(store, None, 50))]


async def a_silent_line(store: Store) -> Line:
    line = Line(store)
    await line.measure(900.0)
    await beat(store, "laptop", line.clock(), DUE)
    line.clock.now = DUE + GRACE + timedelta(minutes=1)
    return line


async def test_a_silence_is_told_once_by_many_watchers(store: Store, mongod: Mongod) -> None:
    line = await a_silent_line(store)
    others = [connect(mongod.uri, store.database.name) for _ in range(3)]
    watches = [SilenceWatch(each, line.clock) for each in (store, *others)]
    for _ in range(3):
        await asyncio.gather(*(watch.once() for watch in watches))
    assert await kinds(store) == ["PROBE_SILENT"]
    (event,) = await probe_events(store, "laptop", 1)
    assert (event["since"], event["at"]) == (DUE + GRACE, line.clock())
    for other in others:
        await other.close()


@pytest.mark.parametrize("by", ["a heartbeat", "a run", "a run of an older time"])
async def test_whatever_is_heard_of_it_ends_the_silence_at_once(store: Store, by: str) -> None:
    line = await a_silent_line(store)
    watch = SilenceWatch(store, line.clock)
    await watch.once()
    line.clock.advance(hours=5)
    if by == "a heartbeat":
        await beat(store, "laptop", line.clock(), line.clock() + timedelta(hours=1))
    else:
        await line.submit(run_at(77 if by == "a run" else 3, 900.0))
    await watch.once()
    assert await kinds(store) == ["PROBE_SILENT", "PROBE_BACK"]
    (event,) = await probe_events(store, "laptop", 1)
    assert (event["since"], event["at"]) == (DUE + GRACE, line.clock())


async def test_the_next_silence_is_another_one(store: Store) -> None:
    line = await a_silent_line(store)
    watch = SilenceWatch(store, line.clock)
    await watch.once()
    await beat(store, "laptop", line.clock(), line.clock() + timedelta(hours=1))
    line.clock.advance(hours=2)
    await watch.once()
    assert await kinds(store) == ["PROBE_SILENT", "PROBE_BACK", "PROBE_SILENT"]
    newest, middle = await probe_events(store, "laptop", 2)
    (oldest,) = await probe_events(store, "laptop", 2, str(middle["_id"]))
    assert [event["_id"] for event in (newest, middle, oldest)] == [3, 2, 1]


async def test_an_end_that_a_crash_kept_from_being_told_is_told_later(store: Store) -> None:
    line = await a_silent_line(store)
    watch = SilenceWatch(store, line.clock)
    await watch.once()
    # A heartbeat whose process died before the event.
    heard: dict[str, Any] = {"$set": {"last_seen_at": line.clock()}}
    await store["probes"].update_one({"_id": "laptop"}, heard)
    await asyncio.gather(watch.once(), watch.once())
    assert await kinds(store) == ["PROBE_SILENT", "PROBE_BACK"]


async def test_a_probe_that_promised_nothing_is_never_silent(store: Store) -> None:
    line = Line(store)
    await line.measure(900.0)
    line.clock.advance(days=400)
    await SilenceWatch(store, line.clock).once()
    assert await kinds(store) == []


@pytest.fixture
def two(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[list[Service]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_service(
                    mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_SILENCE_WATCH_S="0.05"
                )
            )
            for _ in range(2)
        ]


async def test_two_servers_tell_a_silence_and_its_end_once_to_whoever_follows(
    two: list[Service], store: Store
) -> None:
    one, other = two
    one.query(SUBMIT, {"runs": [a_run(900)]})
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    overdue = {"$set": {"last_seen_at": long_ago, "next_run_at": long_ago + timedelta(hours=1)}}
    async with open_socket(other, {"X-API-Key": other.keys["viewer"]}) as socket:
        await socket.subscribe(FOLLOW)
        await store["probes"].update_one({"_id": "laptop"}, overdue)
        told = (await socket.next_data())["probeEvents"]
        assert (told["cursor"], told["kind"], told["probe"]) == ("1", "PROBE_SILENT", "laptop")
        assert one.query(PROBE)["probe"]["silent"]
        other.query(SUBMIT, {"runs": [a_run(900)]}, "probe")
        told = (await socket.next_data())["probeEvents"]
        assert (told["cursor"], told["kind"]) == ("2", "PROBE_BACK")
    assert one.query(PROBE)["probe"] == {"silent": False, "silentSince": None}
    kinds = [event["kind"] for event in one.query(EVENTS, role="probe")["probeEvents"]]
    assert kinds == ["PROBE_BACK", "PROBE_SILENT"]
