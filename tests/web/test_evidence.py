"""A breach's evidence holds against the line what graph does, and nothing else."""

import re
import subprocess
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from speedtrap_web.printing.pdf import COLOURS

from tests.lab.service import Service
from tests.web.history import a_full_run, set_plan, submit

DENVER = ZoneInfo("America/Denver")
SET_RULE = "mutation($rule: RuleInput!) { setRule(rule: $rule) { id } }"
SAID = """{ breaches { nodes {
  id count rule { name } observations(hours: 24) { run value threshold broken inBreach }
} } }"""


def at(days_after_tuesday: int, hour: int, minute: int = 0) -> datetime:
    """On the clock in Denver, in a week that is over."""
    today = datetime.now(UTC).astimezone(DENVER).date()
    tuesday = today - timedelta(days=(today.weekday() - 1) % 7 + 7)
    day = tuesday + timedelta(days=days_after_tuesday)
    return datetime.combine(day, time(hour, minute), DENVER).astimezone(UTC)


def a_run_at(started: datetime, share: float, **conditions: Any) -> dict[str, Any]:
    run = a_full_run(0, share, started=started)
    for measurement in run["measurements"]:
        measurement["jitterMs"] = 50.0 if share < 0.5 and measurement["tool"] != "lan" else 1.0
    return run | {"conditions": run["conditions"] | conditions}


BUSY = {"crossTrafficMbps": 600.0}
"""The household's own: it may explain a figure that the milder of two rules has no quarrel with."""


def triangles_of(pdf: bytes) -> int:
    """How many runs are drawn as held against the line; the legend's is a letter."""
    command = ["pdftocairo", "-svg", "-f", "1", "-l", "1", "-", "-"]
    svg = subprocess.run(command, input=pdf, capture_output=True, check=True).stdout.decode()
    wanted = [*bytes.fromhex(COLOURS["broke"].removeprefix("#"))]
    corner = r"[-\d.]+ [-\d.]+ "
    triangle = rf'fill:rgb\(([^)]*)\)[^"]*" d="M {corner}L {corner}L {corner}Z'
    colours = [colour.split(",") for colour in re.findall(triangle, svg)]
    return sum(
        [round(float(share.rstrip("%")) * 2.55) for share in colour] == wanted for colour in colours
    )


@pytest.mark.parametrize(
    ("rule", "hour", "conditions"),
    [
        ({"metric": "DOWNLOAD", "belowRatio": 0.5, "onlyAtPeak": True}, 3, {}),
        ({"metric": "JITTER", "aboveMs": 20, "onlyAtPeak": True}, 3, {}),
        ({"metric": "DOWNLOAD", "belowRatio": 0.5}, 20, BUSY),
        ({"metric": "DOWNLOAD", "belowRatio": 0.5, "tool": "fast"}, 20, BUSY),
        ({"metric": "JITTER", "aboveMs": 20}, 20, BUSY),
    ],
    ids=["off-peak", "off-peak jitter", "stricter", "one tool", "jitter"],
)
def test_a_run_that_says_nothing_to_the_rule_is_not_drawn_as_a_bad_one(
    empty: Service, rule: dict[str, Any], hour: int, conditions: dict[str, Any]
) -> None:
    set_plan(empty)
    empty.query(SET_RULE, {"rule": {"metric": "DOWNLOAD", "belowRatio": 0.3}})
    empty.query(SET_RULE, {"rule": {**rule, "name": "mine", "moreThan": 5}})
    silent = a_run_at(at(1, hour, 30), 0.35, **conditions)
    bad = [a_run_at(at(day, 19 + n), 0.2) for day in (0, 1) for n in range(4)]
    submit(empty, [a_run_at(at(0, 18), 0.9), *bad, silent, a_run_at(at(2, 19), 0.9)])
    nodes = empty.query(SAID)["breaches"]["nodes"]
    [breach] = [node for node in nodes if node["rule"]["name"] == "mine"]
    said = {one["run"]: one for one in breach["observations"]}
    assert said[silent["id"]]["broken"] is None
    assert {run for run, one in said.items() if one["inBreach"]} == {run["id"] for run in bad}
    address = f"{empty.base_url}/breaches/{breach['id']}"
    assert triangles_of(httpx.get(f"{address}/evidence.pdf", timeout=60).content) == len(bad)
    told = {one["run"]: one for one in httpx.get(f"{address}/evidence.json").json()["observations"]}
    assert {run for run, one in told.items() if one.get("inBreach")} == {run["id"] for run in bad}
    assert "broken" not in told[silent["id"]]
