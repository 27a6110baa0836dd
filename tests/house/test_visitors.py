"""One visitor of `speedtrap up` does not use up what all others need."""

import httpx
from starlette.responses import PlainTextResponse

from speedtrap_up import visitors


async def test_an_address_that_asks_without_end_waits_and_others_do_not() -> None:
    now = [0.0]
    app = visitors.FairShare(PlainTextResponse("ok"), now=lambda: now[0])

    def asking_from(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async with asking_from("192.0.2.1") as greedy, asking_from("192.0.2.2") as modest:
        answers = [(await greedy.get("/")).status_code for _ in range(int(visitors.BURST) + 5)]
        assert answers.count(200) == visitors.BURST
        assert (await greedy.get("/readyz")).headers["Retry-After"] == "1"
        assert (await greedy.post("/graphql")).status_code == 200
        assert (await modest.get("/")).status_code == 200
        now[0] = 1.0
        assert [(await greedy.get("/")).status_code for _ in range(25)].count(200) == 20
