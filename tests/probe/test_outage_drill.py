"""The link is pulled in the middle of a run, stays away for several, and comes back.

A real cable (two virtual interfaces, the probe's in a network namespace), the real service and its
MongoDB, the real clock. An hour of schedule is played in short rounds.
"""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from speedtrap_probe.files.outbox import Outbox

from tests.lab.drills import mostly_drilled
from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import running_service
from tests.lab.speed import speed_server

IP = shutil.which("ip") or "/usr/sbin/ip"
HOST, PROBE = "10.213.77.1", "10.213.77.2"
RUNS = """{ runs(first: 200) { nodes {
  id startedAt outcome outcomeReason measurements { downloadMbps latencyMs }
} } }"""
REPORT = """query($since: DateTime!, $until: DateTime!) {
  serviceReport(probe: "laptop", since: $since, until: $until) {
    outages { count durationS } outageRuns
  }
}"""


@dataclass(frozen=True, slots=True)
class Line:
    """What the probe is connected by."""

    space: str
    ours: str

    def pull(self) -> None:
        ip("link", "set", self.ours, "down")

    def plug(self) -> None:
        ip("link", "set", self.ours, "up")


def ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)


@contextmanager
def a_line() -> Iterator[Line]:
    line = Line(f"drill{os.getpid()}", f"dr{os.getpid()}"[:15])
    theirs = f"dp{os.getpid()}"[:15]
    ip("netns", "add", line.space)
    try:
        ip("link", "add", line.ours, "type", "veth", "peer", "name", theirs, "netns", line.space)
        ip("addr", "add", f"{HOST}/30", "dev", line.ours)
        line.plug()
        for command in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{PROBE}/30", "dev", theirs],
            ["link", "set", theirs, "up"],
            ["route", "add", "default", "via", HOST],
        ):
            ip("-n", line.space, *command)
        yield line
    finally:
        ip("netns", "del", line.space)


@contextmanager
def passed_on(port: int) -> Iterator[int]:
    """A port of the cable's near end that leads to *port* of the loopback."""
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, port: int) -> None:
    with suppress(OSError):  # the test is over
        while True:
            near, _ = server.accept()
            threading.Thread(target=_join, args=(near, port), daemon=True).start()


def _join(near: socket.socket, port: int) -> None:
    with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):  # gone already
            end.shutdown(how)


def until(condition: Callable[[], bool]) -> None:
    """The test's own time limit ends what never comes."""
    while not condition():
        time.sleep(0.2)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("runs_while_down", mostly_drilled([1, 4], [1]))
def test_an_outage_is_one_outage_every_run_is_there_once_and_no_figure_is_0(
    mongod: Mongod, tmp_path: Path, runs_while_down: int
) -> None:
    if os.geteuid() != 0:
        pytest.fail("the outage drill needs root, for a network namespace of its own")
    began = datetime.now(UTC)
    file, outbox = tmp_path / "report.csv", Outbox(tmp_path / "data" / "outbox.sqlite3")

    def rows() -> list[dict[str, str]]:
        if not file.exists():
            return []
        with file.open(newline="", encoding="utf-8") as opened:
            return list(csv.DictReader(opened))

    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path) as service,
        a_line() as line,
        speed_server() as speed,
        passed_on(service.port) as graph_port,
        passed_on(speed.server_address[1]) as speed_port,
    ):
        watch = subprocess.Popen(
            [IP, "netns", "exec", line.space, sys.executable, "-m", "speedtrap_probe", "watch",
             "--every", "6s", "--jitter", "0s", "--tool", "turnkey", "--csv", str(file),
             "-k", service.keys["probe"], "--url", f"http://{HOST}:{graph_port}"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "SPEEDTRAP_PROBE_NAME": "laptop",
                "SPEEDTRAP_PROBE_DATA_DIR": str(tmp_path / "data"),
                "SPEEDTRAP_PROBE_CHECKS": f"{HOST}:{speed_port}",
                "SPEEDTRAP_PROBE_TURNKEY_URL": f"http://{HOST}:{speed_port}/100mb.bin",
                "SPEEDTRAP_PROBE_LOOK": "0s",
                "SPEEDTRAP_PROBE_WINDOW": "4s",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: len(rows()) >= 1)
            before = speed.connections
            until(lambda: speed.connections > before + 3)  # the next run is downloading
            line.pull()
            pulled = len(rows())
            until(lambda: len(rows()) >= pulled + runs_while_down)
            line.plug()
            plugged = len(rows())
            until(lambda: any(row["download_mbps"] for row in rows()[plugged:]))
            until(lambda: len(outbox) == 0)
        finally:
            watch.send_signal(signal.SIGTERM)
            watch.wait(60)
        wanted = {row["run_id"] for row in rows()}
        nodes: list[dict[str, Any]] = service.query(RUNS)["runs"]["nodes"]
        span = {"since": began.isoformat(), "until": (began + timedelta(hours=1)).isoformat()}
        report = service.query(REPORT, span)["serviceReport"]
    assert sorted(node["id"] for node in nodes) == sorted(wanted)
    ordered = sorted(nodes, key=lambda node: node["startedAt"])
    outcomes = [node["outcome"] for node in ordered]
    first, last = outcomes.index("OUTAGE"), len(outcomes) - outcomes[::-1].index("OUTAGE")
    assert outcomes == (
        ["MEASURED"] * first + ["OUTAGE"] * (last - first) + ["MEASURED"] * (len(outcomes) - last)
    ), [node["outcomeReason"] for node in ordered]
    assert 0 < first < last < len(outcomes)
    assert report["outages"]["count"] == 1
    assert report["outages"]["durationS"] > 0
    assert report["outageRuns"] == last - first
    for node in nodes:
        for one in node["measurements"]:
            assert 0 not in (one["downloadMbps"], one["latencyMs"])
