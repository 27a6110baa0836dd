"""Measuring servers that mean harm: none holds a tool, none leaves anything behind.

`SPEEDTRAP_FUZZ_SERVERS` of them (`make fuzz`: 1,000), else a few dozen.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speedtrap_probe import run as rounds
from speedtrap_probe.errors import UndeliveredError
from speedtrap_probe.files import lock
from speedtrap_probe.line.conditions import Witness
from speedtrap_probe.model import Failure, FailureKind
from speedtrap_probe.service.submit import Beat, Service
from speedtrap_probe.tool import Setup

from tests.lab.hostile import HTTP, RAW, WEBSOCKET, Den, Habit, den
from tests.probe.builders import a_run
from tests.probe.home import wait_for
from tests.probe.stages import CLIENTS, OPTIONS, tool
from tests.probe.stages import WEBSOCKET as CLIENTS_OF_WEBSOCKETS

SERVERS = int(os.environ.get("SPEEDTRAP_FUZZ_SERVERS", "60"))
AT_ONCE = 8
WINDOW_S, DEADLINE_S = 0.3, 0.8
DEEPEST = 12  # requests that are answered well first
SEED = 14
ENDLESS = ("drips the status", "drips 100 Continue", "100 Continue for ever", "drips a handshake")
ENDLESS_FRAMES = ("drips the status", "drips a handshake", "drips a frame's head", "pings for ever")


@dataclass(frozen=True, slots=True)
class Attack:
    """Which client meets whom."""

    number: int
    client: str
    habit: str
    after: int

    @property
    def found(self) -> Habit:
        return (HTTP | WEBSOCKET | RAW)[self.habit]


def attacks(count: int) -> list[Attack]:
    """Every habit before any comes again, against a client that it concerns."""
    chance = random.Random(SEED)
    drawn: list[Attack] = []
    while len(drawn) < count:
        for habit in chance.sample([*HTTP, *WEBSOCKET, *RAW], len(HTTP | WEBSOCKET | RAW)):
            clients = sorted(CLIENTS_OF_WEBSOCKETS) if habit in WEBSOCKET else CLIENTS
            after = chance.choice((0, chance.randrange(DEEPEST)))
            drawn.append(Attack(len(drawn), chance.choice(clients), habit, after))
    return drawn[:count]


def measured(where: Den, attack: Attack, folder: Path) -> Failure | None:
    """What became of one run, as a probe makes it."""
    path = folder / f"{attack.number}.lock"
    raw = attack.habit in RAW
    with where.hostile(attack.found, attack.after, attack.number, raw=raw) as server:
        urls = {
            name: url.replace("{url}", server.url) for name, url in OPTIONS[attack.client].items()
        }
        setup = Setup("http://127.0.0.1:1", urls, window_s=WINDOW_S, deadline_s=DEADLINE_S)
        with lock.alone(path) as alone:
            assert alone
            witness = Witness((), look_s=0.0)
            run = rounds.measure("laptop", [tool(attack.client)], setup, witness)
    with lock.alone(path) as again:
        assert again
    (measurement,) = run.measurements
    return measurement.failure


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """No thread and no file more than before."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    wait_for(lambda: set(threading.enumerate()) <= threads)
    wait_for(lambda: open_files() <= files)


def test_no_server_holds_a_tool_or_leaves_anything_behind(tmp_path: Path) -> None:
    planned = attacks(SERVERS)
    with nothing_left_behind(), den() as where, ThreadPoolExecutor(AT_ONCE) as pool:
        failures = list(pool.map(lambda one: measured(where, one, tmp_path), planned))
    odd = [
        (attack, failure.message)
        for attack, failure in zip(planned, failures, strict=True)
        if failure is not None and "unexpected" in failure.message
    ]
    assert not odd


def test_who_never_ends_is_ended_at_the_tools_deadline(tmp_path: Path) -> None:
    """Header bytes, interim answers, handshakes and frames: each client, each in time."""
    planned = [
        Attack(number, client, habit, after=0)
        for number, (client, habit) in enumerate(
            (client, habit)
            for client in CLIENTS
            for habit in (ENDLESS_FRAMES if client in CLIENTS_OF_WEBSOCKETS else ENDLESS)
        )
    ]
    with den() as where, ThreadPoolExecutor(AT_ONCE) as pool:
        failures = list(pool.map(lambda one: measured(where, one, tmp_path), planned))
    for attack, failure in zip(planned, failures, strict=True):
        assert failure is not None, attack
        assert failure.kind is FailureKind.TIMEOUT, (attack, failure)
        assert f"{DEADLINE_S:g} s in all" in failure.message, (attack, failure)


def test_no_service_holds_a_delivery_or_leaves_anything_behind() -> None:
    def asked(number: int) -> str | None:
        habit = list(HTTP)[number % len(HTTP)]
        with where.hostile(HTTP[habit], 0, number, raw=False) as server:
            service = Service(server.url, "key", within_s=DEADLINE_S)
            asks: list[Callable[[], object]] = [
                lambda: service.heartbeat(Beat("laptop")),
                lambda: service.plan("laptop"),
                lambda: service.submit([a_run()]),
            ]
            try:
                asks[number % len(asks)]()
            except UndeliveredError:
                return None
        return habit

    with nothing_left_behind(), den() as where, ThreadPoolExecutor(AT_ONCE) as pool:
        believed = list(pool.map(asked, range(SERVERS)))
    assert not any(believed)
