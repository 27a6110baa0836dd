"""Asked to end, graph answers what it was asked, and tells who listens to come back."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import websockets
from speedtrap_graph.http.socket import SERVICE_RESTART

from tests.graph.following import BREACHES
from tests.lab.mongo import Mongod, running_mongod
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.waiting import until
from tests.lab.wire import PLAN, SET_PLAN, Socket, socket


async def test_what_was_asked_is_answered_before_the_end(tmp_path: Path) -> None:
    with (
        running_mongod(tmp_path / "db") as mongod,
        running_service(mongod, "speedtrap", tmp_path / "service", with_web=False) as service,
    ):
        async with socket(service, {"X-API-Key": service.keys["admin"]}) as opened:
            await opened.subscribe(BREACHES, {"after": "0"}, key="listening")
            with held(mongod):
                await opened.subscribe(SET_PLAN, {"plan": PLAN}, key="change")
                await opened.subscribe("{ me { name } }", key="behind")
                assert (await opened.receive())["id"] == "behind"  # so the change has begun
                assert (await opened.receive())["type"] == "complete"
                ending = asyncio.create_task(asyncio.to_thread(service.stop))
                await until(lambda: not accepts(service))
            answered, closed = await rest(opened)
            assert list(answered) == ["change"]
            assert answered["change"]["setPlan"]["provider"] == "ISP"
            assert closed == (SERVICE_RESTART, "Service Restart")
            await ending


async def test_a_subscriber_goes_on_at_another_copy_without_gap_or_double(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with (
        running_service(mongod, database_name, tmp_path / "a", with_web=False) as leaving,
        running_service(mongod, database_name, tmp_path / "b", with_web=False) as staying,
    ):
        await asyncio.to_thread(staying.query, SET_PLAN, {"plan": PLAN})
        async with socket(leaving, {"X-API-Key": leaving.keys["bot"]}) as opened:
            await opened.subscribe(BREACHES, {"after": "0"})
            await asyncio.to_thread(staying.query, SUBMIT, {"runs": slow_runs(6)})
            first = (await opened.next_data())["breaches"]
            await asyncio.to_thread(leaving.stop)
            assert (await rest(opened))[1] == (SERVICE_RESTART, "Service Restart")
        await asyncio.to_thread(staying.query, SUBMIT, {"runs": slow_runs(7)[:1]})
        async with socket(staying, {"X-API-Key": staying.keys["bot"]}) as opened:
            await opened.subscribe(BREACHES, {"after": first["cursor"]})
            second = (await opened.next_data())["breaches"]
        assert [event["cursor"] for event in (first, second)] == ["1", "2"]


@contextlib.contextmanager
def held(mongod: Mongod) -> Iterator[None]:
    """Asked, it answers when this ends."""
    assert mongod.process is not None
    mongod.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        mongod.process.send_signal(signal.SIGCONT)


def accepts(service: Service) -> bool:
    try:
        httpx.get(f"{service.base_url}/healthz")
    except httpx.ConnectError:
        return False
    return True


async def rest(opened: Socket) -> tuple[dict[str, Any], tuple[int, str]]:
    """What is still answered, by operation, and with what code and reason the other side closes."""
    answered: dict[str, Any] = {}
    try:
        while True:
            message = await opened.receive()
            if message["type"] == "next":
                answered[message["id"]] = message["payload"]["data"]
    except websockets.ConnectionClosed as closed:
        frame = closed.rcvd
    assert frame is not None
    return answered, (frame.code, frame.reason)
