"""Subscribers who ask the same are answered together; and nobody gets an answer to what another
asked.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN, Socket, socket

SHORT = "subscription { breaches { cursor kind } }"
NAMED = "subscription { breaches { number: cursor breach { probe count runs { id } } } }"
CHOOSING = """
subscription($whole: Boolean!) {
  breaches { cursor breach @include(if: $whole) { status plan { provider } } }
}
"""


async def test_everyone_gets_what_they_asked_for_of_one_event(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("bot", SHORT, {}),
        ("bot", SHORT, {}),
        ("viewer", SHORT, {}),
        ("bot", NAMED, {}),
        ("viewer", NAMED, {}),
        ("admin", NAMED, {}),
        ("viewer", CHOOSING, {"whole": True}),
        ("viewer", CHOOSING, {"whole": False}),
        ("viewer", CHOOSING, {"whole": True}),
    ]
    async with AsyncExitStack() as stack:
        opened: list[Socket] = []
        for role, document, variables in asked:
            one = await stack.enter_async_context(
                socket(service, {"X-API-Key": service.keys[role]})
            )
            await one.subscribe(document, variables)
            await has_begun(one)
            opened.append(one)
        runs = slow_runs(6)
        await asyncio.to_thread(service.query, SUBMIT, {"runs": runs}, "probe")
        told = [(await one.next_data())["breaches"] for one in opened]

        short = {"cursor": "1", "kind": "OPENED"}
        ids = [{"id": run["id"]} for run in runs]
        breach = {"probe": "laptop", "count": 6}
        assert told[:3] == [short] * 3
        for answer in told[3:6]:
            assert answer["number"] == "1"
            assert answer["breach"].items() >= breach.items()
            assert sorted(answer["breach"]["runs"], key=str) == sorted(ids, key=str)
        whole = {"status": "OPEN", "plan": {"provider": "ISP"}}
        assert told[6:] == [{"cursor": "1", "breach": whole}, {"cursor": "1"},
                            {"cursor": "1", "breach": whole}]  # fmt: skip


async def test_who_leaves_takes_nobodys_answer_along(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    async with AsyncExitStack() as stack:
        leaving, staying = [
            await stack.enter_async_context(socket(service, {"X-API-Key": service.keys["bot"]}))
            for _ in range(2)
        ]
        for one in (leaving, staying):
            await one.subscribe(NAMED)
            await has_begun(one)
        submitting = asyncio.create_task(
            asyncio.to_thread(service.query, SUBMIT, {"runs": slow_runs(6)}, "probe")
        )
        await leaving.connection.close()
        await submitting
        assert (await staying.next_data())["breaches"]["number"] == "1"
        good = {"runs": [a_run(950, hours_ago=1)]}
        await asyncio.to_thread(service.query, SUBMIT, good, "probe")
        assert (await staying.next_data())["breaches"]["number"] == "2"


async def has_begun(one: Socket) -> None:
    """A round trip on the same socket: by then its subscription listens, or will in a moment."""
    await one.subscribe("{ me { role } }", key="asked")
    while (await one.receive())["type"] != "complete":
        pass
    await asyncio.sleep(0.2)
