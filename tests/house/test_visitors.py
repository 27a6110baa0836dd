"""One visitor of `speedtrap up` does not use up what all others need."""

import asyncio

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from speedtrap_up import visitors


async def test_an_address_that_asks_without_end_waits_and_others_do_not() -> None:
    now = [0.0]
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    app = visitors.FairShare(PlainTextResponse("ok"), now=lambda: now[0], pause=wait)

    def asking_from(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async with asking_from("192.0.2.1") as greedy, asking_from("192.0.2.2") as modest:
        answers = [(await greedy.get("/")).status_code for _ in range(int(visitors.BURST) + 5)]
        assert answers.count(200) == visitors.BURST
        # What asking costs the asker is more than what refusing costs us.
        assert waited == [visitors.REFUSED_AFTER_S] * 5
        assert (await greedy.get("/readyz")).headers["Retry-After"] == "1"
        assert (await greedy.post("/graphql")).status_code == 200
        assert (await modest.get("/")).status_code == 200
        now[0] = 1.0
        assert [(await greedy.get("/")).status_code for _ in range(25)].count(200) == 20


async def test_whoever_asks_with_unknown_keys_waits_and_known_keys_never_do() -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    async def graph(scope: Scope, receive: Receive, send: Send) -> None:
        is_known = (b"x-api-key", b"known") in scope["headers"]
        await PlainTextResponse("", 200 if is_known else 401)(scope, receive, send)

    app = visitors.FairShare(graph, now=lambda: 0.0, pause=wait)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("192.0.2.1", 1)), base_url="http://localhost"
    ) as client:
        for _ in range(int(visitors.BURST) + 3):
            assert (await client.post("/graphql")).status_code == 401
        assert len(waited) == 3
        for _ in range(3):
            answer = await client.post("/graphql", headers={"X-API-Key": "known"})
            assert answer.status_code == 200
        assert len(waited) == 3


async def test_one_address_measures_so_much_at_once_and_another_measures_beside_it() -> None:
    go_on = asyncio.Event()

    async def speed(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await PlainTextResponse("x")(scope, receive, send)

    app = visitors.FairShare(speed, pause=lambda _: asyncio.sleep(0))

    async def measure(address: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/speed/garbage")).status_code

    many = [asyncio.create_task(measure("192.0.2.1")) for _ in range(visitors.MOST_MEASURING + 4)]
    other = asyncio.create_task(measure("192.0.2.2"))
    while sum(task.done() for task in many) < 4:  # noqa: ASYNC110 - any four of them
        await asyncio.sleep(0.01)
    go_on.set()
    answers = await asyncio.gather(*many)
    assert sorted(answers) == [200] * visitors.MOST_MEASURING + [429] * 4
    assert await other == 200
    assert await measure("192.0.2.1") == 200
