"""What compose's profile `monitoring` starts, as processes: graph behind the gateway, and
Prometheus with its own configuration at the gateway's inner door.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.nginx import Gateway, running_gateway
from tests.lab.prometheus import Prometheus, running_prometheus
from tests.lab.receiver import running_receiver
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docker/monitoring/prometheus.yml"
RULES = ROOT / "docker/monitoring/rules"
PLAN = """
mutation {
  setPlan(plan: {provider: "Example Fiber", downloadMbps: 940, uploadMbps: 940,
    timeZone: "Europe/Berlin", since: "2020-01-01T00:00:00Z"}) { provider }
}
"""

UPLOAD_RULE = """
mutation {
  setRule(rule: {metric: UPLOAD, belowRatio: 0.5, moreThan: 5, recoveredAfter: 1}) { id }
}
"""
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True)
class Watched:
    """graph, reached through the gateway only, as in compose."""

    graph: Service
    gateway: Gateway

    @property
    def figures_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.metrics_port}/metrics"

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.gateway.url}/graphql",
            headers={"X-API-Key": self.graph.keys["admin"]},
            json={"query": document, "variables": variables},
            timeout=60,
        ).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data


@pytest.fixture(scope="session")
def watched(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with (
        fresh_database(mongod) as database,
        running_receiver() as receiver,
        running_service(
            mongod,
            database,
            folder,
            SPEEDTRAP_GRAPH_CALLERS="gateway",
            SPEEDTRAP_GRAPH_METRICS_TIMEOUT_S="60",
            SPEEDTRAP_GRAPH_WEBHOOK_URL=receiver.url,
            SPEEDTRAP_GRAPH_WEBHOOK_SECRET="a secret that is long enough",
        ) as graph,
        running_gateway(folder, graph.base_url, graph.base_url, folder / "speed") as gateway,
    ):
        found = Watched(graph, gateway)
        found.query(PLAN)
        found.query(UPLOAD_RULE)
        found.query(SUBMIT, runs=_runs())
        found.query(SUBMIT, runs=[{**a_run(), "startedAt": "yesterday"}])
        with mongod.client() as client:
            due = {"channel": "mail", "due_at": datetime.now(UTC)}
            rows = [{"_id": status, "status": status, **due} for status in ("PLANNED", "UNKNOWN")]
            client[database]["notices"].insert_many(rows)
        yield found


def _runs() -> list[dict[str, Any]]:
    """Of one probe a breach, all that a tool can tell and one that failed; of one an outage."""
    newest = a_run(100, hours_ago=0.5)
    [ookla] = newest["measurements"]
    ookla |= {
        "jitterMs": 1.5,
        "packetLossRatio": 0.01,
        "loadedLatencyDownMs": 90.0,
        "loadedLatencyUpMs": 70.0,
        "server": {"id": "4711"},
    }
    [broken] = a_run(None, hours_ago=0.5, tool="fast")["measurements"]
    newest["measurements"].append(broken)
    down = {"lineUp": False, "medium": "WIRED"}
    outage = a_run(None, probe="attic", conditions=down)
    return [*slow_runs(8), newest, outage, a_run(900, hours_ago=_hours_since_peak())]


def _hours_since_peak() -> float:
    """Of the last working day, at eight in the evening."""
    now = datetime.now(BERLIN)
    peak = now.replace(hour=20, minute=0)
    while peak > now or peak.weekday() >= 5:
        peak -= timedelta(days=1)
    return (now.astimezone(UTC) - peak.astimezone(UTC)) / timedelta(hours=1)


@pytest.fixture(scope="session")
def prometheus(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """compose's own configuration, with this test's places and every four seconds."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    for here, there in {
        "gateway:9100": f"127.0.0.1:{watched.gateway.metrics_port}",
        "/etc/prometheus/rules": str(RULES),
    }.items():
        assert here in text
        text = text.replace(here, there)
    text = re.sub(r"_interval: 30s", "_interval: 4s", text)
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), text) as server:
        yield server
