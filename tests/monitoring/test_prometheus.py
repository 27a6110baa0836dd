"""A real Prometheus at the gateway's inner door, and promtool's opinion of what it gets."""

import re

import httpx
import pytest

from tests.lab.figures import scraped
from tests.lab.prometheus import Prometheus, promtool
from tests.monitoring.conftest import CONFIGURATION, Watched

KNOWN = re.compile(r"\w+_(bits_per_second|milliseconds) use base unit ")
"""Bits, as every plan is sold in, and milliseconds in the names that people already graph."""


def test_prometheus_scrapes_graph_through_the_gateways_inner_door(prometheus: Prometheus) -> None:
    [found] = prometheus.until('speedtest_download_bits_per_second{probe="laptop",tool="ookla"}')
    assert float(found["value"][1]) == 100_000_000
    assert found["metric"]["job"] == "speedtrap"
    [target] = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.until("speedtrap_scrape_complete == 1")


def test_what_was_not_measured_is_not_there(prometheus: Prometheus) -> None:
    prometheus.until('speedtrap_last_run_outcome{probe="attic",outcome="OUTAGE"} == 1')
    assert prometheus.query('{__name__=~"speed.*_bits_per_second",probe="attic",tool!=""}') == []
    assert prometheus.query('speedtest_up{tool="fast"} == 0')


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_the_public_door_has_no_figures_for_anybody(watched: Watched, role: str) -> None:
    key = {"X-API-Key": watched.graph.keys[role]}
    assert httpx.get(f"{watched.gateway.url}/metrics", headers=key).status_code == 404


def test_the_inner_door_asks_for_no_key_and_says_nothing_of_what_was_sent(
    watched: Watched,
) -> None:
    told = scraped(watched.figures_url, {"X-Speedtrap-Caller": "nobody:probe"})
    assert told.one("speedtrap_database_up") == 1


def test_who_gets_past_the_gateway_with_a_name_needs_a_role_that_may_read(
    watched: Watched,
) -> None:
    """Only the gateway can set this header; what it would pass on is judged all the same."""
    url = f"{watched.graph.base_url}/metrics"
    for caller, status in {"page:viewer": 200, "laptop:probe": 403, "nonsense": 403}.items():
        answer = httpx.get(url, headers={"X-Speedtrap-Caller": caller})
        assert answer.status_code == status


def test_promtool_finds_no_fault_but_the_units_that_people_know(watched: Watched) -> None:
    done = promtool("check", "metrics", stdin=httpx.get(watched.figures_url, timeout=60).text)
    complaints = [line for line in done.stderr.splitlines() if not KNOWN.match(line)]
    assert complaints == []
    assert "error" not in done.stdout


def test_composes_configuration_is_valid() -> None:
    done = promtool("check", "config", "--syntax-only", str(CONFIGURATION))
    assert done.returncode == 0, done.stderr
