"""What the service asks of MongoDB on its hot paths, as MongoDB's own profiler saw it.

Every question has an index, reads about as much as it gives back, and names the probe, so that a
cluster asks one shard.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pymongo.database import Database
from speedtrap_graph.store.shards import SHARD_KEYS

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import APPROVE, PLAN, PLAN_NOTICE, SET_PLAN, socket

Row = dict[str, Any]

RUNS_OF_EACH = 400
COPIES = 300
"""Of each thing that a bot or a page must not read through to find its own."""
EVERY_SHARD = "asks every shard"
WHOLE = {"probes", "recipients", "silences", "stops", "standard_versions"}
"""Lists of what there is: an overview shows every probe, and a mark of change counts them."""


@dataclass(frozen=True)
class House:
    service: Service
    database: Database[Row]
    breach: str


@pytest.fixture(scope="module")
def house(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with (
        fresh_database(mongod) as name,
        running_service(
            mongod, name, folder, with_web=True, SPEEDTRAP_GRAPH_AUTO_APPROVE="mail"
        ) as service,
        mongod.client() as client,
    ):
        service.query(SET_PLAN, {"plan": PLAN})
        for probe in ("laptop", "attic", "barn"):
            runs = [
                a_run(900.0 + n % 7, hours_ago=20 + n / 2, probe=probe) for n in range(RUNS_OF_EACH)
            ]
            service.query(SUBMIT, {"runs": runs})
        service.query(SUBMIT, {"runs": slow_runs(8)})
        found = service.query("{ breaches(first: 1) { edges { node { id } } } }")
        breach = found["breaches"]["edges"][0]["node"]["id"]
        crowd(client[name])
        yield House(service, client[name], breach)


def crowd(database: Database[Row]) -> None:
    """Many of what is there once, of other probes and times."""
    breach = database["breaches"].find_one() or {}
    before = datetime.now(UTC) - timedelta(days=30)
    for n in range(COPIES):
        copy = {"_id": f"copy{n}", "probe": f"other{n % 9}", "reference": f"ST-{n:06}"}
        moments = {"opened_at": before, "first_run_at": before, "status": "RESOLVED"}
        database["breaches"].insert_one(breach | copy | moments)
    event = database["events"].find_one() or {}
    for n in range(COPIES):
        database["events"].insert_one(event | {"_id": event["_id"] + 1 + n})
    database["counters"].update_one({"_id": "events"}, {"$inc": {"seq": COPIES}})


def notice_of(house: House, recipient: str) -> Row:
    draft = {
        "breach": house.breach,
        "stage": "OPENING",
        "channel": "mail",
        "recipient": recipient,
        "subject": "Slow",
        "text": "It is slow.",
    }
    notice: Row = house.service.query(PLAN_NOTICE, {"notice": draft}, "bot")["planNotice"]
    return notice


def many_notices(house: House) -> None:
    """Hundreds of sent ones beside the one that is due, of the same channel and of another."""
    notice = notice_of(house, "support@isp.example")
    if notice["status"] == "PLANNED":
        house.service.query(APPROVE, {"id": notice["id"], "digest": notice["digest"]})
    notices = house.database["notices"]
    row = notices.find_one({"_id": notice["id"]}) or {}
    for n in range(COPIES):
        for channel in ("mail", "twitter"):
            status = {"status": "SENT", "channel": channel, "recipient_key": f"r{n}"}
            notices.insert_one(row | status | {"_id": f"{channel}{n}", "breach": f"copy{n}"})


def submit(house: House) -> None:
    """One that is the newest, and some that are slow."""
    for runs in ([a_run(880.0, hours_ago=0.1, probe="barn")], slow_runs(2, probe="attic")):
        house.service.query(SUBMIT, {"runs": runs})


def submit_late(house: House) -> None:
    house.service.query(SUBMIT, {"runs": [a_run(890.0, hours_ago=50.3)]})


def submit_again(house: House) -> None:
    run = a_run(880.0, hours_ago=0.2, probe="barn")
    for _ in range(2):
        house.service.query(SUBMIT, {"runs": [run]})


def claim(house: House) -> None:
    many_notices(house)
    claimed = house.service.query(
        'mutation { claimNotice(channel: "mail", worker: "w") { fence notice { id } } }', role="bot"
    )["claimNotice"]
    assert claimed is not None
    key, fence = claimed["notice"]["id"], claimed["fence"]
    began = house.service.query(
        "mutation($id: ID!, $fence: Int!) { beginSending(id: $id, fence: $fence) }",
        {"id": key, "fence": fence},
        "bot",
    )
    assert began["beginSending"] is True
    house.service.query(
        "mutation($id: ID!, $fence: Int!) { settleNotice(id: $id, fence: $fence, outcome: SENT)"
        " { id } }",
        {"id": key, "fence": fence},
        "bot",
    )
    house.service.query(
        'mutation { claimCheck(channel: "mail", worker: "w") { fence } }', role="bot"
    )


def page(*paths: str) -> Callable[[House], None]:
    def visit(house: House) -> None:
        with httpx.Client(
            base_url=house.service.base_url, follow_redirects=True, timeout=60
        ) as client:
            for path in paths:
                assert client.get(path).status_code == 200, path

    return visit


def query(document: str) -> Callable[[House], None]:
    def ask(house: House) -> None:
        until = datetime.now(UTC)
        asked = document.replace("SINCE", (until - timedelta(days=4)).isoformat())
        house.service.query(asked.replace("UNTIL", until.isoformat()))

    return ask


def tail(house: House) -> None:
    """A bot that comes back: what happened behind its cursor."""

    last = house.database["counters"].find_one({"_id": "events"}) or {}
    behind = f'subscription {{ breaches(after: "{last["seq"] - 1}") {{ cursor kind }} }}'

    async def follow() -> None:
        bot = {"X-API-Key": house.service.keys["bot"]}
        async with socket(house.service, bot) as subscriber:
            await subscriber.subscribe(behind)
            assert (await subscriber.next_data())["breaches"]["cursor"] == str(last["seq"])

    asyncio.run(follow())


HOT: dict[str, Callable[[House], None]] = {
    "submit": submit,
    "claim": claim,
    "tail": tail,
    "overview": page("/", "/?probe=attic&range=30d"),
    "runs page": page("/runs?probe=barn"),
    "breaches page": page("/breaches"),
    "history": query('{ history(probe: "attic", since: "SINCE", until: "UNTIL") { n median } }'),
    "report": query(
        '{ serviceReport(probe: "attic", since: "SINCE", until: "UNTIL") { n verdict } }'
    ),
    "runs": query('{ runs(probe: "barn", first: 20) { edges { node { id outcome } } } }'),
    "streak": query('{ probe(name: "laptop") { streak lastRun { id } openBreach { id } } }'),
}
OF_EVERY_SHARD: dict[str, Callable[[House], None]] = {
    "runs of all": query("{ runs(first: 20) { edges { node { id } } } }"),
    "runs page of all": page("/runs"),
    "submit late": submit_late,
    "submit again": submit_again,
}
"""What is about no one probe, or must find another probe's run with the same id."""


@pytest.mark.parametrize("path", HOT)
def test_a_hot_path_reads_by_an_index_what_it_gives_back_from_one_shard(
    house: House, path: str
) -> None:
    asked = profiled(house, HOT[path])
    assert asked
    assert sorted({f"{wrong}: {said(one)}" for one in asked if (wrong := problem(one))}) == []


@pytest.mark.parametrize("path", OF_EVERY_SHARD)
def test_what_is_of_all_probes_reads_by_an_index_what_it_gives_back(
    house: House, path: str
) -> None:
    asked = profiled(house, OF_EVERY_SHARD[path])
    assert {problem(one) for one in asked} <= {"", EVERY_SHARD}


def profiled(house: House, work: Callable[[House], None]) -> list[Row]:
    """What the service asked MongoDB meanwhile."""
    database = house.database
    database.command("profile", 0)
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=32 << 20)
    database.command("profile", 2, filter={"appName": "speedtrap-graph"})
    try:
        work(house)
    finally:
        database.command("profile", 0)
    return [one for one in database["system.profile"].find() if filter_of(one) is not None]


def problem(one: Row) -> str:
    """What is wrong with a question; empty when nothing is."""
    collection = one["ns"].partition(".")[2]
    given = one.get("nreturned", 0) + one.get("nMatched", 0) + one.get("ndeleted", 0)
    plan = one.get("planSummary", "")
    if collection in WHOLE and not filter_of(one):
        return ""
    if "COLLSCAN" in plan:
        return "no index"
    # A history is summed up where its runs are, by their index.
    if "pipeline" in one["command"]:
        given = one.get("keysExamined", 0)
    if one.get("docsExamined", 0) > 2 * given + 30:
        return "reads too much"
    if collection in SHARD_KEYS and not names_the_probe(collection, filter_of(one) or {}):
        return EVERY_SHARD
    return ""


def names_the_probe(collection: str, wanted: Row) -> bool:
    (field,) = SHARD_KEYS[collection]
    return any(field in clause for clause in (wanted, *wanted.get("$and", ())))


def filter_of(one: Row) -> Row | None:
    """None for what asks nothing: inserts, commits."""
    command = one.get("command", {})
    if "pipeline" in command:
        steps = command["pipeline"]
        if "$changeStream" in steps[0]:
            return None
        return next((step["$match"] for step in steps if "$match" in step), {})
    if "getMore" in command:
        return filter_of({"command": one.get("originatingCommand", {})})
    for name in ("filter", "query", "q"):
        if name in command:
            wanted: Row = command[name]
            return wanted
    return None


def said(one: Row) -> str:
    figures = {name: one.get(name) for name in ("docsExamined", "nreturned", "planSummary")}
    return f"{one['ns']} {one['op']} {filter_of(one)} {figures}"
