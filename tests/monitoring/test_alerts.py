"""Each alert fires when it should and is quiet when it should be, by promtool's own reckoning."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from speedtrap_graph.metrics.names import NAMES

from tests.lab.prometheus import Prometheus, promtool
from tests.monitoring.conftest import RULES

FILE = RULES / "speedtrap.yml"
ALERTS: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}

Series = Mapping[str, str]
"""Values once a minute, in promtool's notation, by series."""


@dataclass(frozen=True)
class Case:
    """What makes the alert fire, and what is all right: two hours of it, or forty where it takes
    a day.
    """

    bad: Series
    good: Series
    step_min: int = 1


J = 'job="speedtrap",instance="gateway:9100"'
ME, YOU = f'{J},process="a"', f'{J},process="b"'

CASES: Mapping[str, Case] = {
    "SpeedtrapAway": Case(
        {f"up{{{J}}}": "0x120"},
        {f"up{{{J}}}": "1x100 0x3 1x10"},
    ),
    # The copies take turns: each is missing now and then, and one of them reaches it.
    "SpeedtrapDatabaseAway": Case(
        {f"speedtrap_database_up{{{ME}}}": "0x120", f"speedtrap_database_up{{{YOU}}}": "0x120"},
        {f"speedtrap_database_up{{{ME}}}": "0x120", f"speedtrap_database_up{{{YOU}}}": "1x120"},
    ),
    "SpeedtrapFiguresIncomplete": Case(
        {
            f"speedtrap_scrape_complete{{{ME}}}": "0x120",
            f"speedtrap_database_up{{{ME}}}": "1x120",
        },
        {
            f"speedtrap_scrape_complete{{{ME}}}": "0x120",
            f"speedtrap_database_up{{{ME}}}": "0x120",
        },
    ),
    "SpeedtrapEventsStuck": Case(
        {f"speedtrap_change_stream_behind_events{{{ME}}}": "1x120"},
        {
            f"speedtrap_change_stream_behind_events{{{ME}}}": "0x100 3 0x10",
            f"speedtrap_change_stream_quiet_seconds{{{ME}}}": "1x120",
        },
    ),
    "SpeedtrapErrorsInside": Case(
        {f'speedtrap_errors_total{{{ME},code="INTERNAL"}}': "0x90 1x30"},
        {
            f'speedtrap_errors_total{{{ME},code="INTERNAL"}}': "1x120",
            f'speedtrap_errors_total{{{ME},code="BAD_INPUT"}}': "0+1x120",
        },
    ),
    "SpeedtrapRunsRejected": Case(
        {f'speedtrap_runs_submitted_total{{{ME},result="rejected"}}': "0x90 2x30"},
        {f'speedtrap_runs_submitted_total{{{ME},result="accepted"}}': "0+1x120"},
    ),
    "SpeedtrapDiskFilling": Case(
        {
            f"speedtrap_database_filesystem_used_bytes{{{J}}}": "86x120",
            f"speedtrap_database_filesystem_bytes{{{J}}}": "100x120",
        },
        {
            f"speedtrap_database_filesystem_used_bytes{{{J}}}": "85x120",
            f"speedtrap_database_filesystem_bytes{{{J}}}": "100x120",
        },
    ),
    # Without new runs there is nothing to export, however long that lasts.
    "SpeedtrapExporterBehind": Case(
        {
            f'speedtrap_exporter_reached_timestamp_seconds{{{J},exporter="mqtt"}}': "0x120",
            f'speedtrap_last_run_timestamp_seconds{{{J},probe="a"}}': "0+60x120",
            f'speedtrap_last_run_timestamp_seconds{{{J},probe="b"}}': "0x120",
        },
        {
            f'speedtrap_exporter_reached_timestamp_seconds{{{J},exporter="mqtt"}}': "30x120",
            f'speedtrap_last_run_timestamp_seconds{{{J},probe="a"}}': "0x120",
        },
    ),
    "SpeedtrapNoticeUnknown": Case(
        {f'speedtrap_notices{{{J},channel="mail",status="UNKNOWN"}}': "1x120"},
        {f'speedtrap_notices{{{J},channel="mail",status="UNKNOWN"}}': "0x90 1x20 0x10"},
    ),
    # One that was given up long ago is no news.
    "SpeedtrapNoticeDead": Case(
        {f'speedtrap_notices{{{J},channel="mail",status="DEAD"}}': "3x60 4x80"},
        {f'speedtrap_notices{{{J},channel="mail",status="DEAD"}}': "3x300"},
        step_min=20,
    ),
    "SpeedtrapNoticeWaits": Case(
        {f'speedtrap_notices{{{J},channel="mail",status="PLANNED"}}': "1x300"},
        {f'speedtrap_notices{{{J},channel="mail",status="PLANNED"}}': "0x100 1x40"},
        step_min=20,
    ),
    "SpeedtrapSendingOff": Case(
        {f"speedtrap_sending_on{{{J}}}": "0x300"},
        {f"speedtrap_sending_on{{{J}}}": "0x60 1x80"},
        step_min=20,
    ),
    "SpeedtrapProbeSilent": Case(
        {f'speedtrap_probe_silent{{{J},probe="attic"}}': "1x120"},
        {f'speedtrap_probe_silent{{{J},probe="attic"}}': "0x100 1x5 0x5"},
    ),
    "SpeedtrapBreachOpen": Case(
        {f'speedtrap_open_breaches{{{J},probe="attic"}}': "1x120"},
        {f'speedtrap_open_breaches{{{J},probe="attic"}}': "1x40 0x80"},
    ),
}


def test_every_alert_is_tried() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("step_min", [1, 20])
def test_each_fires_when_it_should_and_only_then(step_min: int, tmp_path: Path) -> None:
    tests = [
        _test(name, series, step_min, is_firing=is_firing)
        for name, case in CASES.items()
        for series, is_firing in ((case.bad, True), (case.good, False))
        if case.step_min == step_min
    ]
    every = f"{step_min}m"
    cases = {"rule_files": [str(FILE)], "evaluation_interval": every, "tests": tests}
    file = tmp_path / "cases.yml"
    # JSON is YAML.
    file.write_text(json.dumps(cases), encoding="utf-8")
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def _test(name: str, series: Series, step_min: int, *, is_firing: bool) -> dict[str, Any]:
    firing = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    one = {"labels": f'{{alertname="{name}"}}', "value": 1}
    return {
        "interval": f"{step_min}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname) ({firing})",
                "eval_time": f"{step_min * 2}h",
                "exp_samples": [one] if is_firing else [],
            }
        ],
    }


@pytest.mark.parametrize("name", ALERTS)
def test_each_says_what_it_is_about_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"].endswith(".")
    assert len(alert["annotations"]["runbook"]) > 20


@pytest.mark.parametrize("name", ALERTS)
def test_each_looks_at_metrics_that_exist(name: str) -> None:
    named = set(re.findall(r"\bspeed(?:trap|test)_\w+", ALERTS[name]["expr"]))
    assert named <= set(NAMES)


def test_a_real_prometheus_evaluates_them_all_without_a_fault(prometheus: Prometheus) -> None:
    prometheus.until('ALERTS{alertname="SpeedtrapBreachOpen",alertstate="firing",probe="laptop"}')
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_promtool_finds_no_fault_with_the_file() -> None:
    done = promtool("check", "rules", str(Path(FILE)))
    assert done.returncode == 0, done.stdout + done.stderr
