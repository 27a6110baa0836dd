"""The probe and the real service: graph and web in a process, a real mongod."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.model import Failure, FailureKind, Figures, Run, Server, from_json, to_json
from speedtrap_probe.service.submit import Beat, Service, deliver
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import lan

from tests.lab import service as lab
from tests.lab.mongo import Mongod, fresh_database
from tests.probe.builders import AT, EVERYTHING, a_measurement, a_run
from tests.probe.home import Home

RUNS = """{ runs(first: 100) { nodes {
  id probe startedAt finishedAt
  conditions { lineUp medium platform }
  measurements {
    tool toolVersion startedAt durationS downloadMbps uploadMbps latencyMs jitterMs packetLossRatio
    loadedLatencyDownMs loadedLatencyUpMs bytesReceived bytesSent
    server { id name host location } resultUrl failure { kind message }
  }
} } }"""


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Service]:
    """One for all: it takes seconds to start, and every run here has an id of its own."""
    folder = tmp_path_factory.mktemp("service")
    with (
        fresh_database(mongod) as database,
        lab.running_service(mongod, database, folder, with_web=True) as running,
    ):
        yield running


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.sqlite3")


def stored(service: lab.Service, *runs: Run) -> list[Run]:
    """What the service has of these runs."""
    nodes = service.query(RUNS)["runs"]["nodes"]
    wanted = {str(run.id) for run in runs}
    return [from_json(known(node)) for node in nodes if node["id"] in wanted]


def known(value: Any) -> Any:
    """Without the nulls: what GraphQL says of the absent."""
    if isinstance(value, dict):
        return {name: known(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [known(inner) for inner in value]
    return value


def test_what_the_probe_sends_is_what_the_service_gives_back(
    service: lab.Service, outbox: Outbox
) -> None:
    failure = Failure(FailureKind.RATE_LIMITED, "later")
    run = a_run(a_measurement("ookla", EVERYTHING), a_measurement("fast", Figures(), failure))
    outbox.put([run])
    delivery = deliver(outbox, Service(service.base_url, service.keys["probe"]))
    assert (delivery.stored, delivery.rejected, delivery.problem) == (1, [], None)
    assert stored(service, run) == [run]


def test_runs_made_while_the_service_is_down_are_there_once_when_it_is_back(
    service: lab.Service, outbox: Outbox
) -> None:
    way = Service(service.base_url, service.keys["probe"])
    runs = [a_run() for _ in range(3)]
    outbox.put(runs[:1])
    assert deliver(outbox, way).stored == 1
    service.kill()
    outbox.put(runs)
    assert deliver(outbox, way).waiting == 3
    service.start()
    assert deliver(outbox, way).stored == 3
    assert sorted(run.id for run in stored(service, *runs)) == sorted(run.id for run in runs)


def test_a_run_of_another_probes_name_is_set_aside_with_the_services_reason(
    service: lab.Service, outbox: Outbox
) -> None:
    outbox.put([a_run(probe="neighbour"), a_run()])
    delivery = deliver(outbox, Service(service.base_url, service.keys["probe"]))
    assert delivery.stored == 1
    assert [one.reason for one in delivery.rejected] == [
        "probe: this key may submit for 'laptop' only"
    ]


def test_a_new_probe_that_dies_after_its_first_run_is_missed(
    mongod: Mongod, outbox: Outbox, tmp_path: Path
) -> None:
    asked = '{ probe(name: "laptop") { expectedAt } }'
    with (
        fresh_database(mongod) as database,
        lab.running_service(mongod, database, tmp_path, with_web=True) as service,
    ):
        way, due = Service(service.base_url, service.keys["probe"]), AT + timedelta(hours=5)
        way.heartbeat(Beat("laptop", due))
        outbox.put([a_run()])
        deliver(outbox, way, Beat("laptop", due))
        told = service.query(asked)["probe"]
    assert datetime.fromisoformat(told["expectedAt"]) == due


ZONES = ("Europe/Berlin", "America/Denver")


def test_the_same_import_with_a_corrected_time_zone_moves_the_runs_and_says_so(
    mongod: Mongod, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    rows = [f"2019/11/0{day} 10:00:00,{day}00 Mbps,,,\n" for day in range(1, 6)]
    (tmp_path / "old.csv").write_text("".join(rows))
    asked = '{ probe(name: "laptop") { runCount firstRunAt } runs { nodes { startedAt } } }'
    with (
        fresh_database(mongod) as database,
        lab.running_service(mongod, database, tmp_path, with_web=True) as service,
    ):
        given = ("import", "old.csv", "-k", service.keys["probe"], "--url", service.base_url)
        wrong, right, again = [
            home.probe(*given, "--time-zone", zone) for zone in (*ZONES, ZONES[1])
        ]
        told = service.query(asked)
    assert [one.returncode for one in (wrong, right, again)] == [0, 0, 0]
    assert "moved" not in wrong.stdout + again.stdout
    assert "5 runs had been imported with another time zone: moved by +7 to +8 h" in right.stdout
    assert told["probe"]["runCount"] == 5
    assert told["probe"]["firstRunAt"][:19] == "2019-11-01T16:00:00"
    starts = [node["startedAt"][:19] for node in told["runs"]["nodes"]]
    assert starts == [f"2019-11-0{day}T{17 if day > 2 else 16}:00:00" for day in range(5, 0, -1)]


def test_a_run_with_half_a_character_does_not_wait_for_ever(
    service: lab.Service, outbox: Outbox, tmp_path: Path
) -> None:
    run = a_run(a_measurement("ookla", Figures(download_mbps=1, server=Server("1", "Lab"))))
    broken = json.loads(json.dumps(to_json(run)).replace("Lab", "Lab \\ud800"))
    way = Service(service.base_url, service.keys["probe"])
    outbox.put([run])
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite3")) as database, database:
        database.execute("UPDATE runs SET document = ?", (json.dumps(broken),))
    assert (deliver(outbox, way).stored, len(outbox)) == (1, 0)


@pytest.mark.parametrize(
    ("role", "said"), [("viewer", "may not submit"), (None, "does not know this key")]
)
def test_a_key_that_may_not_leaves_the_runs_waiting(
    role: str | None, said: str, service: lab.Service, outbox: Outbox
) -> None:
    outbox.put([a_run()])
    key = service.keys[role] if role else "unknown-key"
    delivery = deliver(outbox, Service(service.base_url, key))
    assert said in (delivery.problem or "")
    assert delivery.waiting == 1


def test_lan_measures_against_the_services_own_endpoint(service: lab.Service) -> None:
    figures = lan.TOOL.measure(Setup(service.base_url, window_s=1.0))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert figures.latency_ms is not None
