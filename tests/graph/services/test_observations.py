"""What the runs around a breach say to its rule: what its letters stand on."""

from typing import Any

from speedtrap_graph.rules.model import Metric, Rule
from speedtrap_graph.services.read.browse import Browse
from speedtrap_graph.store.database import Store

from tests.lab.line import Line, run_at


def behind_a_slow_network(hour: float, mbps: float) -> dict[str, Any]:
    """Of 400 Mbps: it explains less than half of 1000, and not less than 30 %."""
    run = run_at(hour, mbps)
    local = {**run["measurements"][0], "tool": "lan", "downloadMbps": 400.0}
    return {**run, "measurements": [*run["measurements"], local]}


async def test_each_run_says_to_a_breach_what_its_own_rule_heard(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.plans.set_rule(None, Rule(Metric.DOWNLOAD, below_ratio=0.3, name="milder"))
    await line.measure(940, None, 350)
    await line.submit(*(behind_a_slow_network(3 + hour, 120.0 + hour) for hour in range(6)))
    [breach] = [b for b in await line.breaches() if b.rule_key.endswith("milder")]
    found = await Browse(store).observations_around_breach(breach, 24)
    told = [(heard.observation.value, heard.broken) for heard in found]
    assert told == [
        (940.0, False), (None, True), (350.0, False), *((120.0 + hour, True) for hour in range(6)),
    ]  # fmt: skip
    runs = await Browse(store).runs_of_breach(breach)
    assert {run.id for run in runs} <= {heard.observation.run_id for heard in found}
    assert [heard.observation.value for heard in found if heard.in_breach] == [
        120.0 + hour for hour in range(6)
    ]
