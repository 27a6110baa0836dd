"""Figures that cannot be: above the rate of the wire that they came through."""

from speedtrap_graph.rules.doubts import figure, impossible_throughput, words_of
from speedtrap_graph.rules.model import FailureKind, Medium
from speedtrap_graph.services.figures import FIGURE_KEYS, reading_of
from speedtrap_graph.store.database import Row

_FIGURES = frozenset(FIGURE_KEYS.values())


def without_impossible(measurement: Row, conditions: Row) -> Row:
    """*measurement* as it is, or as the failure of a tool that none of its figures can be trusted
    of. What it claimed stays in the message.
    """
    link_mbps: float | None = conditions.get("link_mbps")
    if link_mbps is None or conditions.get("medium") != Medium.WIRED:
        return measurement
    metric = impossible_throughput(reading_of(measurement), link_mbps)
    if metric is None:
        return measurement
    claimed = figure(measurement[FIGURE_KEYS[metric]])
    why = (
        f"reported {words_of(metric)} {claimed} Mbps through a network link of"
        f" {figure(link_mbps)} Mbps, which cannot be"
    )
    known = measurement.get("failure")
    message = f"{why}; {known['message']}" if known else why
    return {
        **{name: value for name, value in measurement.items() if name not in _FIGURES},
        "failure": {"kind": FailureKind.TOOL_FAILED.value, "message": message[:2000]},
    }
