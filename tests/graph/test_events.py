"""Subscribers miss nothing and see nothing twice: after a cursor, a restart, a killed mongod."""

import asyncio
from pathlib import Path

from tests.lab.mongo import Mongod, running_mongod
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.wire import PLAN, SET_PLAN, socket

BREACHES = """
subscription($after: String) {
  breaches(after: $after) { cursor kind breach { reference status count } }
}
"""


def open_a_breach(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    service.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")


async def submit(service: Service, mbps: float, hours_ago: float) -> None:
    runs = [a_run(mbps, hours_ago=hours_ago)]
    await asyncio.to_thread(service.query, SUBMIT, {"runs": runs}, "probe")


async def test_a_subscriber_gets_what_was_and_what_comes(service: Service) -> None:
    open_a_breach(service)
    async with socket(service, {"X-API-Key": service.keys["bot"]}) as opened:
        await opened.subscribe(BREACHES, {"after": "0"})
        first = (await opened.next_data())["breaches"]
        assert (first["kind"], first["cursor"]) == ("OPENED", "1")
        await submit(service, 120, hours_ago=1.5)
        second = (await opened.next_data())["breaches"]
        assert (second["kind"], second["breach"]["count"]) == ("GREW", 7)

    async with socket(service, {"X-API-Key": service.keys["bot"]}) as again:
        await again.subscribe(BREACHES, {"after": first["cursor"]})
        assert (await again.next_data())["breaches"]["cursor"] == second["cursor"]


async def test_without_a_cursor_only_what_comes_is_told(service: Service) -> None:
    open_a_breach(service)
    async with socket(service, {"X-API-Key": service.keys["viewer"]}) as opened:
        await opened.subscribe(BREACHES)
        await opened.subscribe("subscription { runs { downloadMbps } }", key="2")
        # A round trip on the same socket: by then both subscriptions have begun.
        await opened.subscribe("{ me { role } }", key="3")
        while (await opened.receive())["type"] != "complete":
            pass
        await asyncio.sleep(0.5)
        await submit(service, 950, hours_ago=1)
        got = [await opened.next_data(), await opened.next_data()]
        assert {"runs": {"downloadMbps": 950}} in got
        (event,) = [data["breaches"] for data in got if "breaches" in data]
        assert (event["kind"], event["cursor"]) == ("RESOLVED", "2")


async def test_a_bad_cursor_is_told_so(service: Service) -> None:
    async with socket(service, {"X-API-Key": service.keys["bot"]}) as opened:
        for cursor in ("abc", "-1", "99"):
            await opened.subscribe(BREACHES, {"after": cursor}, key=cursor)
            while "payload" not in (message := await opened.receive()):
                pass  # the last one's complete
            payload = message["payload"]
            errors = payload if isinstance(payload, list) else payload["errors"]
            assert errors[0]["extensions"] == {"code": "BAD_INPUT", "field": "after"}


async def test_a_killed_service_goes_on_behind_the_cursor(service: Service) -> None:
    open_a_breach(service)
    async with socket(service, {"X-API-Key": service.keys["bot"]}) as opened:
        await opened.subscribe(BREACHES, {"after": "0"})
        cursor = (await opened.next_data())["breaches"]["cursor"]
    service.kill()
    service.start()
    await submit(service, 950, hours_ago=1)
    async with socket(service, {"X-API-Key": service.keys["bot"]}) as opened:
        await opened.subscribe(BREACHES, {"after": cursor})
        event = (await opened.next_data())["breaches"]
        assert (event["cursor"], event["kind"]) == ("2", "RESOLVED")


async def test_another_copy_of_the_service_tells_it_too(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with (
        running_service(mongod, database_name, tmp_path) as one,
        running_service(mongod, database_name, tmp_path) as other,
    ):
        async with socket(other, {"X-API-Key": other.keys["bot"]}) as opened:
            await opened.subscribe(BREACHES, {"after": "0"})
            await asyncio.to_thread(open_a_breach, one)
            assert (await opened.next_data())["breaches"]["kind"] == "OPENED"


async def test_a_subscriber_lives_through_a_killed_mongod(tmp_path: Path) -> None:
    with (
        running_mongod(tmp_path / "db") as mongod,
        running_service(mongod, "speedtrap", tmp_path / "service") as service,
    ):
        await asyncio.to_thread(open_a_breach, service)
        async with socket(service, {"X-API-Key": service.keys["bot"]}) as opened:
            await opened.subscribe(BREACHES, {"after": "0"})
            assert (await opened.next_data())["breaches"]["kind"] == "OPENED"
            mongod.kill()
            await asyncio.to_thread(mongod.start)
            await submit(service, 950, hours_ago=1)
            event = (await opened.next_data())["breaches"]
            assert (event["cursor"], event["kind"]) == ("2", "RESOLVED")
