"""CONTRIBUTING's "Add a rule's metric" names the places of a metric, all of them and no other."""

import re
from pathlib import Path

import pytest
from speedtrap_graph.rules.model import Metric

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "graph/speedtrap_graph",
    "probe/speedtrap_probe",
    "web/speedtrap_web",
    "bots/speedtrap_bots",
)
KINDS = {".py", ".graphql", ".html", ".js"}


def spellings(metric: Metric) -> set[str]:
    snake = metric.value.lower()
    first, *rest = snake.split("_")
    return {metric.value, snake, first + "".join(word.title() for word in rest)}


def places(metric: Metric) -> set[str]:
    pattern = re.compile("|".join(rf"\b{word}" for word in spellings(metric)))
    return {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.suffix in KINDS and pattern.search(file.read_text(encoding="utf-8"))
    }


def named() -> set[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a rule's metric")[2].partition("\n## ")[0]
    return set(re.findall(r"`([a-z_/]+(?:\.py|\.graphql|/))`", section))


# Of a name of two words, which says nothing else anywhere.
@pytest.mark.parametrize("metric", [Metric.LOADED_LATENCY_DOWN, Metric.LOADED_LATENCY_UP])
def test_every_place_of_a_metric_is_named(metric: Metric) -> None:
    known = named()
    outside = {
        place
        for place in places(metric)
        if not any(f"/{name}" in place or place.endswith(f"/{name}") for name in known)
    }
    assert outside - TOOLS == set()


TOOLS = {
    "probe/speedtrap_probe/engine/http.py",
    "probe/speedtrap_probe/tools/ndt7.py",
    "probe/speedtrap_probe/tools/ookla.py",
}
"""Those that measure it."""
