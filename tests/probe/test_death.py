"""Hostile measuring servers: none fills memory, and a good one is measured after them as before."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
from speedtrap_probe import run as rounds
from speedtrap_probe.line.conditions import Witness
from speedtrap_probe.model import Measurement
from speedtrap_probe.tool import Setup

from tests.lab.apart import hostile_servers
from tests.lab.beside import MOST_KEPT_BYTES, MOST_RATIO
from tests.lab.hostile import HTTP, RAW, WEBSOCKET
from tests.lab.speed import speed_server
from tests.probe.stages import CLIENTS, OPTIONS, against, tool
from tests.probe.stages import WEBSOCKET as CLIENTS_OF_WEBSOCKETS

AT_ONCE = 4
WINDOW_S, DEADLINE_S = 0.3, 0.8
MOST_GROWTH_BYTES = 150 * 2**20
"""Of four tools at once; a real run has one."""


def attacked(client: str, url: str) -> Measurement:
    options = {name: text.replace("{url}", url) for name, text in OPTIONS[client].items()}
    setup = Setup("http://127.0.0.1:1", options, window_s=WINDOW_S, deadline_s=DEADLINE_S)
    [measurement] = rounds.measure("p", [tool(client)], setup, Witness((), look_s=0.0)).measurements
    return measurement


def rate_of_a_good_server() -> float:
    with speed_server() as server:
        setup = against("librespeed", server, window_s=1.0)
        run = rounds.measure("p", [tool("librespeed")], setup, Witness((), look_s=0.0))
    [measurement] = run.measurements
    assert measurement.figures is not None
    assert measurement.figures.download_mbps is not None
    return measurement.figures.download_mbps


@contextmanager
def growth() -> Iterator[list[int]]:
    """The greatest growth of this process' memory meanwhile, and what is kept of it, in bytes."""
    process, over, found = psutil.Process(), threading.Event(), [0, 0]
    gc.collect()
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(0.02):
            found[0] = max(found[0], process.memory_info().rss - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()
        gc.collect()
        found[1] = process.memory_info().rss - before


def test_no_server_fills_memory_and_a_good_one_is_measured_afterwards_as_before() -> None:
    alone_mbps = rate_of_a_good_server()
    clients = {
        habit: sorted(CLIENTS_OF_WEBSOCKETS if habit in WEBSOCKET else CLIENTS)
        for habit in HTTP | WEBSOCKET | RAW
    }
    with hostile_servers([*clients]) as urls, growth() as grown:
        pairs = [
            (names[place % len(names)], urls[habit])
            for place, (habit, names) in enumerate(clients.items())
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda pair: attacked(*pair), pairs))
    assert grown[0] <= MOST_GROWTH_BYTES
    assert grown[1] <= MOST_KEPT_BYTES
    assert rate_of_a_good_server() * MOST_RATIO >= alone_mbps
