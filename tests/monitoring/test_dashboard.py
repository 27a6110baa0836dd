"""The dashboard says nothing that a real Prometheus does not understand and graph does not tell."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab.prometheus import Prometheus
from tests.monitoring.conftest import ROOT

FILE = ROOT / "docs/grafana/speedtrap.json"
PROVISIONED = ROOT / "docker/monitoring/grafana"
DASHBOARD: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
NAME = re.compile(r"\b(?:speedtest|speedtrap|process)_\w+|\bup\b|\bALERTS\b")
VARIABLES = {"$probe": ".*", "$tool": ".*", "$__rate_interval": "1m"}
_LABELS = re.compile(r"^label_values\((?P<series>.+), \w+\)$")


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABELS.match(variable["definition"])
            assert found is not None
            yield variable["name"], found["series"]


EXPRESSIONS = list(expressions())


def filled_in(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_every_expression_has_something_to_show(
    prometheus: Prometheus, title: str, expression: str
) -> None:
    """Also the names: what graph does not tell has no value. A comparison may leave none."""
    assert title
    asked = filled_in(expression)
    if " > 0" in asked:
        prometheus.query(asked)
        asked = asked.replace(" > 0", "")
    assert prometheus.until(asked)


def test_every_metric_that_is_named_is_scraped(prometheus: Prometheus) -> None:
    prometheus.until("ALERTS")
    known = set(prometheus.get("label/__name__/values"))
    named = {name for _, expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert named <= known
    assert len(named) > 40


def test_no_panel_lies_on_another_and_all_have_names_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in mine) < 24
        assert not mine & places, panel["title"]
        places |= mine
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(titles)) == len(titles)


def test_a_gap_stays_a_gap() -> None:
    """No line is drawn through an outage, a failure or a silence."""
    for panel in DASHBOARD["panels"]:
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
        assert custom.get("spanNulls", False) is False, panel["title"]


def test_it_can_be_imported_anywhere_and_is_provisioned_by_compose() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["datasource"] == source
    [variable] = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "datasource"]
    provisioned = (PROVISIONED / "datasources/prometheus.yaml").read_text(encoding="utf-8")
    assert f"uid: {variable['current']['value']}" in provisioned
    compose = Path(ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert "./docs/grafana:/var/lib/dashboards:ro" in compose
    assert "./docker/monitoring/rules:/etc/prometheus/rules:ro" in compose
