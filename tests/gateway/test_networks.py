"""Who shares a network with whom in compose.yaml: what is not reached needs no further lock."""

from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))


def neighbours(compose: dict[str, Any], service: str) -> set[str]:
    """Every other service on a network of *service*."""
    members = {name: set(one.get("networks", ())) for name, one in compose["services"].items()}
    return {name for name in members if members[name] & members[service]} - {service}


@pytest.mark.parametrize(
    ("service", "reached_by"),
    [
        ("graph", {"gateway", "db", "db-2", "db-3"}),
        ("db", {"graph", "db-2", "db-3"}),
        ("web", {"gateway"}),
        ("bot-mail", {"gateway", "bot-twitter"}),
        ("certbot", set()),
        ("prometheus", {"gateway", "grafana"}),
        ("grafana", {"prometheus"}),
    ],
)
def test_nobody_is_reached_by_more_than_need_it(
    compose: dict[str, Any], service: str, reached_by: set[str]
) -> None:
    assert neighbours(compose, service) == reached_by


@pytest.mark.parametrize("network", ["pages", "api", "store", "figures"])
def test_what_asks_nothing_of_the_world_has_no_way_there(
    compose: dict[str, Any], network: str
) -> None:
    assert compose["networks"][network]["internal"] is True


def test_the_figures_are_at_an_address_that_prometheus_alone_can_reach(
    compose: dict[str, Any],
) -> None:
    gateway = compose["services"]["gateway"]
    host, _, port = gateway["environment"]["SPEEDTRAP_GATEWAY_METRICS_LISTEN"].partition(":")
    named = [
        network
        for network, settings in gateway["networks"].items()
        if host in settings.get("aliases", ())
    ]
    assert (named, port) == (["figures"], "9100")
    on_it = {
        name for name, one in compose["services"].items() if "figures" in one.get("networks", ())
    }
    assert on_it == {"gateway", "prometheus"}


def test_the_gateway_alone_is_published_and_grafana_on_this_machine(
    compose: dict[str, Any],
) -> None:
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert set(published) == {"gateway", "grafana"}
    assert [port.rpartition(":")[2] for port in published["gateway"]] == ["80", "443"]
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
