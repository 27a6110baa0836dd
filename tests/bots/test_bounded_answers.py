"""Whatever stands where graph should, the bots read its answer up to a limit and go on asking."""

import pytest
import websockets
from speedtrap_bots.bounded import LARGEST_ANSWER_BYTES
from speedtrap_bots.errors import LedgerAway
from speedtrap_bots.ledger import LARGEST_EVENT_BYTES, Ledger

from tests.lab.flood import ENDLESS, Flood

IN_SOCKET_BUFFERS = 16 * 2**20
STRANGE: dict[str, bytes] = {
    "a number": b"5",
    "a list": b"[]",
    "errors in an object": b'{"errors": {"message": "x"}}',
    "errors that are text": b'{"errors": ["x"]}',
    "an error with extensions in a list": b'{"errors": [{"message": "x", "extensions": [1]}]}',
    "no data": b'{"data": null}',
    "data in a list": b'{"data": [1]}',
    "deep JSON": b"[" * 200_000,
    "no UTF-8": b'{"data": "\xff"}',
}


async def assert_away(flood: Flood) -> None:
    async with Ledger(flood.url, "a-key") as ledger:
        with pytest.raises(LedgerAway):
            await ledger.channels()


@pytest.mark.parametrize("what", ENDLESS)
async def test_an_answer_without_end_is_read_up_to_the_limit(what: str) -> None:
    with Flood(ENDLESS[what]).serving() as flood:
        await assert_away(flood)
        assert flood.sent_bytes[0] < LARGEST_ANSWER_BYTES + IN_SOCKET_BUFFERS


async def test_a_packed_answer_is_not_unpacked() -> None:
    with Flood.packed().serving() as flood:
        await assert_away(flood)


@pytest.mark.parametrize("what", STRANGE)
async def test_a_strange_answer_means_that_graph_is_away(what: str) -> None:
    with Flood.saying(STRANGE[what]).serving() as flood:
        await assert_away(flood)


async def test_an_event_larger_than_allowed_ends_the_subscription() -> None:
    async def acknowledge_and_flood(connection: websockets.ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type": "connection_ack"}')
        await connection.send(b" " * (LARGEST_EVENT_BYTES + 1), text=True)
        await connection.wait_closed()

    graph = websockets.serve(
        acknowledge_and_flood,
        "127.0.0.1",
        0,
        subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
    )
    async with graph as server:
        port = server.sockets[0].getsockname()[1]
        events = Ledger(f"http://127.0.0.1:{port}", "a-key").events("0")
        with pytest.raises(LedgerAway):
            await anext(events)
