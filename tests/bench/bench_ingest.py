"""What a submission costs. Each line is `name ratio reference`: throughput of the service over that
of bare pymongo, by turns in the same run, 16 connections with a probe each.

`submit_single` (goal 0.4), `submit_batch` (goal 0.5): runs one by one and 100 at a time, against
what one who does by hand what the service does must write for each: a transaction of the same
documents in the same collections with the same indexes (the probe's document, which puts its
submissions in order; the runs; the mark of their rollup; the probe again), durable by w:majority.
The reference neither decodes nor validates nor judges anything, and opens no breach. The service
may put submissions that came at the same time into one transaction; the reference does not.
`_bare`: against the insert of the runs and nothing else, without an order between them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN

CONNECTIONS = 16
ROUNDS = 5
SINCE = datetime.now(UTC) - timedelta(days=40)

Row = dict[str, Any]
Database = AsyncDatabase[Row]
Write = Callable[[Database, list[Row]], Awaitable[None]]


async def bench_submissions(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    with running_service(mongod, database_name, tmp_path) as service:
        await asyncio.to_thread(service.query, SET_PLAN, {"plan": PLAN})
        print()
        async with pymongo(mongod.uri) as database:
            for name, size, times in (("submit_single", 1, 60), ("submit_batch", 100, 6)):
                rates = await _by_turns(service, database, size, times)
                mine, same, bare = map(median, rates)
                print(f"{name} {mine / same:.2f} {same:.0f}/s")
                print(f"{name}_bare {mine / bare:.2f} {bare:.0f}/s")


async def _by_turns(
    service: Service, database: Database, size: int, times: int
) -> tuple[list[float], list[float], list[float]]:
    """Runs a second: the service's, of the same writes, of the bare ones."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    amount = size * times * CONNECTIONS
    for turn in range(ROUNDS):
        # What is sent is made beforehand: its making is nobody's work here.
        batches = [
            [range((turn * times + k) * size, (turn * times + k + 1) * size) for k in range(times)]
            for _ in range(CONNECTIONS)
        ]
        bodies = [
            [a_body(service, f"n{size}-{place}", numbers) for numbers in mine]
            for place, mine in enumerate(batches)
        ]
        found[0].append(amount / await _seconds(submit_all(service.port, bodies)))
        for rates, write in zip(found[1:], (write_the_same, write_the_bare), strict=True):
            rows = [
                [[a_row(f"p{size}-{place}", n) for n in numbers] for numbers in mine]
                for place, mine in enumerate(batches)
            ]
            rates.append(amount / await _seconds(write_all(database, rows, write)))
    return found


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def submit_all(port: int, bodies: Sequence[Sequence[bytes]]) -> None:
    """Over plain sockets: a comfortable client would cost more than the service."""

    async def submit(requests: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            answer = await reader.readexactly(length)
            assert b'"rejected":[]' in answer, answer
            assert b'"errors"' not in answer, answer
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(submit, bodies))


async def write_all(database: Database, rows: Sequence[Sequence[list[Row]]], write: Write) -> None:
    async def keep_on(batches: Sequence[list[Row]]) -> None:
        for batch in batches:
            await write(database, batch)

    await asyncio.gather(*map(keep_on, rows))


async def write_the_bare(database: Database, rows: list[Row]) -> None:
    await database["runs"].insert_many(rows)


async def write_the_same(database: Database, rows: list[Row]) -> None:
    probe = {"_id": rows[0]["probe"]}

    async def work(session: AsyncClientSession) -> None:
        await database["probes"].find_one_and_update(probe, {"$inc": {"seq": 1}}, session=session)
        await database["runs"].insert_many(rows, session=session)
        mark = {
            "probe": probe["_id"],
            "since": rows[0]["started_at"],
            "until": rows[-1]["started_at"],
        }
        await database["rollup_marks"].insert_one(mark, session=session)
        newest = {"at": rows[-1]["started_at"], "id": rows[-1]["_id"]}
        change = {
            "$inc": {"run_count": len(rows)},
            "$min": {"first_run_at": rows[0]["started_at"]},
            "$max": {"last_seen_at": rows[-1]["received_at"]},
            "$set": {"newest": newest, "tails": []},
        }
        await database["probes"].update_one(probe, change, session=session)

    async with database.client.start_session() as session:
        await session.with_transaction(work, ReadConcern("snapshot"), WriteConcern(w="majority"))


@asynccontextmanager
async def pymongo(uri: str) -> AsyncIterator[Database]:
    """A database with the service's indexes on the collections that are written."""
    client: AsyncMongoClient[Row] = AsyncMongoClient(
        uri, tz_aware=True, uuidRepresentation="standard", w="majority"
    )
    database = client[f"bench_{uuid4().hex[:8]}"]
    await database["runs"].create_index([("probe", 1), ("started_at", -1), ("_id", -1)])
    await database["runs"].create_index([("started_at", -1), ("_id", -1)])
    await database["rollup_marks"].create_index([("probe", 1), ("since", 1)])
    for name in (f"p{size}-{place}" for size in (1, 100) for place in range(CONNECTIONS)):
        await database["probes"].insert_one({"_id": name, "seq": 0, "tails": []})
    try:
        yield database
    finally:
        await client.drop_database(database.name)
        await client.close()


def a_body(service: Service, probe: str, numbers: range) -> bytes:
    """A whole request."""
    runs = [a_wire_run(probe, number) for number in numbers]
    body = json.dumps({"query": SUBMIT, "variables": {"runs": runs}}).encode()
    head = (
        "POST /graphql HTTP/1.1\r\nHost: graph\r\nContent-Type: application/json\r\n"
        f"X-API-Key: {service.keys['admin']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def a_wire_run(probe: str, number: int) -> Row:
    started = SINCE + timedelta(seconds=10 * number)
    return a_run(
        900.0,
        probe=probe,
        startedAt=started.isoformat(),
        finishedAt=(started + timedelta(seconds=30)).isoformat(),
    )


def a_row(probe: str, number: int) -> Row:
    """As the service stores what `a_wire_run` submits."""
    started = SINCE + timedelta(seconds=10 * number)
    return {
        "_id": uuid4(),
        "probe": probe,
        "started_at": started,
        "finished_at": started + timedelta(seconds=30),
        "received_at": started,
        "conditions": {"line_up": True, "medium": "WIRED", "platform": "linux", "notes": []},
        "measurements": [
            {
                "tool": "ookla",
                "started_at": started,
                "duration_s": 20.0,
                "download_mbps": 900.0,
                "upload_mbps": 80.0,
                "latency_ms": 12.5,
            }
        ],
        "outcome": "MEASURED",
        "outcome_reason": "Measured by ookla.",
        "best": {"DOWNLOAD": 900.0, "UPLOAD": 80.0, "LATENCY": 12.5},
    }
