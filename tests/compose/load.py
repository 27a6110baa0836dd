"""Probes that submit without pause while something happens, and a subscriber who listens."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import websockets
from websockets.typing import Subprotocol

from tests.compose.stack import SUBMIT, UNVERIFIED, Stack, a_run, becomes_true

WAYS = 3


class Load:
    """Submits good runs of one probe in several threads; repeats what was not acknowledged."""

    def __init__(self, stack: Stack, key: str, probe: str) -> None:
        self.acknowledged: list[str] = []
        self.tried: list[str] = []
        self._stack, self._key, self._probe = stack, key, probe
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(WAYS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, further: int = 5) -> bool:
        """Whether so many more are acknowledged from now on."""
        wanted = len(self.acknowledged) + further
        return becomes_true(lambda: len(self.acknowledged) >= wanted)

    def check(self) -> None:
        """Nothing acknowledged is lost, nothing is there twice, and nothing that nobody sent."""
        stored = self._stack.stored(self._probe)
        assert len(stored) == len(set(stored))
        assert set(self.acknowledged) <= set(stored)

    def _submit(self) -> None:
        while not self._done.is_set():
            run = a_run(self._probe, 900, minutes_ago=0.5)
            self.tried.append(run["id"])
            while not self._acknowledged(run) and not self._done.is_set():
                self._done.wait(0.2)

    def _acknowledged(self, run: dict[str, Any]) -> bool:
        try:
            answer = self._stack.post(self._key, SUBMIT, runs=[run])
        except httpx.HTTPError:
            return False
        if answer.status_code != httpx.codes.OK or "errors" in answer.json():
            return False
        told = answer.json()["data"]["submitRuns"]
        assert run["id"] in told["accepted"] + told["duplicates"], told
        self.acknowledged.append(run["id"])
        return True


@contextlib.contextmanager
def under_load(stack: Stack, key: str, probe: str = "attic") -> Iterator[Load]:
    load = Load(stack, key, probe)
    load.start()
    try:
        assert load.goes_on()
        yield load
    finally:
        load.stop()


EVENTS = "subscription($after: String) { breaches(after: $after) { cursor kind breach { probe } } }"


class Listener(threading.Thread):
    """Subscribes to breaches as a bot does: after a cut again from the last cursor."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(name="listener")
        self.heard: list[dict[str, Any]] = []
        self.connections = 0
        self._url, self._key, self._tls = stack.socket_url, stack.admin, stack.with_tls
        self._done = threading.Event()

    def kinds(self, probe: str) -> list[str]:
        return [one["kind"] for one in self.heard if one["breach"]["probe"] == probe]

    def cursors(self) -> list[str]:
        return [one["cursor"] for one in self.heard]

    def stop(self) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        while not self._done.is_set():
            # A gateway that has just lost its graph refuses the handshake.
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                await self._until_cut()
            await asyncio.sleep(0.2)

    async def _until_cut(self) -> None:
        async with websockets.connect(
            self._url,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers={"X-API-Key": self._key},
            ssl=UNVERIFIED if self._tls else None,
            ping_interval=5,
            ping_timeout=5,
        ) as connection:
            await connection.send(json.dumps({"type": "connection_init"}))
            after = self.heard[-1]["cursor"] if self.heard else "0"
            payload = {"query": EVENTS, "variables": {"after": after}}
            await connection.recv()
            await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            self.connections += 1
            while not self._done.is_set():
                with contextlib.suppress(TimeoutError):
                    self._hear(json.loads(await asyncio.wait_for(connection.recv(), 0.5)))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "next":
            self.heard.append(message["payload"]["data"]["breaches"])


@contextlib.contextmanager
def listening(stack: Stack) -> Iterator[Listener]:
    listener = Listener(stack)
    listener.start()
    try:
        assert becomes_true(lambda: listener.connections > 0)
        yield listener
    finally:
        listener.stop()


class Reader(threading.Thread):
    """Opens the page again and again; keeps what was no page."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(name="reader")
        self.read = 0
        self.failures: list[str] = []
        self._stack = stack
        self._done = threading.Event()

    def stop(self) -> None:
        self._done.set()
        self.join()

    def goes_on(self, further: int = 5) -> bool:
        wanted = self.read + further
        return becomes_true(lambda: self.read >= wanted)

    def run(self) -> None:
        while not self._done.is_set():
            try:
                answer = self._stack.get("/")
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if answer.status_code == httpx.codes.OK:
                self.read += 1
            else:
                self.failures.append(f"{answer.status_code} {answer.text[:200]}")


@contextlib.contextmanager
def reading(stack: Stack) -> Iterator[Reader]:
    reader = Reader(stack)
    reader.start()
    try:
        assert reader.goes_on()
        yield reader
    finally:
        reader.stop()
