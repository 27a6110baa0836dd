"""The parts that are there when they are asked for: the probe's and the monitoring's containers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose.hardening import check
from tests.compose.stack import Stack, becomes_true

pytestmark = pytest.mark.system

RUNS = '{ runs(probe: "home", first: 5) { nodes { measurements { tool } } } }'


@pytest.fixture
def monitored(stack: Stack) -> Iterator[Stack]:
    stack.compose("--profile", "monitoring", "up", "--detach", "--wait", "prometheus", "grafana")
    yield stack
    stack.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus", "grafana")


def prometheus(stack: Stack, path: str) -> Any:
    """What Prometheus answers; it is published nowhere."""
    url = f"http://127.0.0.1:9090/api/v1/{path}"
    words = ("exec", "--no-TTY", "prometheus", "wget", "--quiet", "--output-document=-", url)
    answer = json.loads(stack.compose("--profile", "monitoring", *words))
    assert answer["status"] == "success"
    return answer["data"]


def test_prometheus_reads_the_service_and_grafana_is_for_this_machine_only(
    monitored: Stack,
) -> None:
    for service in ("prometheus", "grafana"):
        assert check(monitored, monitored.container(service)) == service
    ports = monitored.inspect(monitored.container("grafana"))["HostConfig"]["PortBindings"]
    assert {one["HostIp"] for bound in ports.values() for one in bound} == {"127.0.0.1"}
    assert not monitored.inspect(monitored.container("prometheus"))["HostConfig"]["PortBindings"]

    def scraped() -> bool:
        targets = prometheus(monitored, "targets")["activeTargets"]
        return bool(targets) and {target["health"] for target in targets} == {"up"}

    assert becomes_true(scraped), prometheus(monitored, "targets")
    (figure,) = prometheus(monitored, "query?query=speedtrap_database_up")["result"]
    assert figure["value"][1] == "1"
    rules = [rule for group in prometheus(monitored, "rules")["groups"] for rule in group["rules"]]
    assert "SpeedtrapAway" in {rule["name"] for rule in rules}
    assert {rule["state"] for rule in rules if rule["name"] == "SpeedtrapAway"} == {"inactive"}


def test_the_probes_container_measures_and_delivers(stack: Stack) -> None:
    """On the host's network: the way here is the way to the published port."""
    stack.environment |= {
        "SPEEDTRAP_PROBE_URL": stack.url,
        "SPEEDTRAP_PROBE_EVERY": "90s",
        "SPEEDTRAP_PROBE_TOOLS": "lan",
    }
    try:
        stack.compose("--profile", "probe", "up", "--build", "--detach", "--wait", "probe")
        assert check(stack, stack.container("probe")) == "probe"
        runs = stack.graphql(stack.admin, RUNS)["runs"]["nodes"]
        assert runs
        assert "lan" in {one["tool"] for one in runs[0]["measurements"]}
    finally:
        stack.compose("--profile", "probe", "rm", "--stop", "--force", "probe")
