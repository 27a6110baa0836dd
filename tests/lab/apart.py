"""Hostile servers in another process: what they take is not counted as the attacked one's."""

import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

from tests.lab.hostile import HTTP, MQTT, RAW, SMTP, WEBSOCKET, den


def _serve(names: list[str], after: int, pipe: Connection) -> None:
    habits = HTTP | WEBSOCKET | RAW | SMTP | MQTT
    with den() as where, ExitStack() as stack:
        servers = [
            stack.enter_context(
                where.hostile(habits[name], after, seed, raw=name in RAW | SMTP | MQTT)
            )
            for seed, name in enumerate(names)
        ]
        pipe.send({name: server.url for name, server in zip(names, servers, strict=True)})
        pipe.recv()


@contextmanager
def hostile_servers(names: list[str], after: int = 0) -> Iterator[Mapping[str, str]]:
    """The address of each, by the name of its habit."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(names, after, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()
