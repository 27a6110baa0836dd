"""What suites say to graph over the wire: documents they share, and a WebSocket spoken by hand."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.typing import Subprotocol

from tests.lab.service import Service

SET_PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id probe provider since } }"
PLAN = {"provider": "ISP", "downloadMbps": 1000, "uploadMbps": 100, "timeZone": "America/Denver"}
PLAN_NOTICE = """
mutation($notice: NoticeInput!) { planNotice(notice: $notice) { id digest status steps { why } } }
"""
APPROVE = """
mutation($id: ID!, $digest: String!) {
  approveNotice(id: $id, digest: $digest) { id status dueAt steps { status by why } }
}
"""


class Socket:
    """One graphql-transport-ws connection, acknowledged."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def subscribe(
        self, document: str, variables: Mapping[str, Any] | None = None, key: str = "1"
    ) -> None:
        payload = {"query": document, "variables": dict(variables or {})}
        await self.send({"id": key, "type": "subscribe", "payload": payload})

    async def next_data(self) -> dict[str, Any]:
        """The data of the next event; AssertionError when it is anything else."""
        while True:
            message = await self.receive()
            if message["type"] == "ping":
                await self.send({"type": "pong"})
                continue
            assert message["type"] == "next", message
            assert "errors" not in message["payload"], message
            data: dict[str, Any] = message["payload"]["data"]
            return data


@asynccontextmanager
async def socket(service: Service, headers: Mapping[str, str]) -> AsyncGenerator[Socket, None]:
    async with websockets.connect(
        service.ws_url,
        subprotocols=[Subprotocol("graphql-transport-ws")],
        additional_headers=dict(headers),
    ) as connection:
        opened = Socket(connection)
        await opened.send({"type": "connection_init"})
        assert (await opened.receive())["type"] == "connection_ack"
        yield opened
