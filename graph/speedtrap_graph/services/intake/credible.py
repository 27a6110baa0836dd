"""Figures that cannot be: above the rate of the wire that they came through."""

from speedtrap_graph.rules.doubts import figure, most_through
from speedtrap_graph.rules.model import FailureKind, Medium
from speedtrap_graph.services.judging.readings import FIGURE_KEYS
from speedtrap_graph.store.database import Row

_FIGURES = frozenset(FIGURE_KEYS.values())
_THROUGHPUTS = (("download_mbps", "download"), ("upload_mbps", "upload"))


def without_impossible(measurements: list[Row], conditions: Row) -> list[Row]:
    """*measurements* as they are, but for tools that none of their figures can be trusted of: these
    have failed. What they claimed stays in the message.
    """
    link_mbps: float | None = conditions.get("link_mbps")
    if link_mbps is None or conditions["medium"] != Medium.WIRED:
        return measurements
    most_mbps = most_through(link_mbps)
    return [_credible(measurement, link_mbps, most_mbps) for measurement in measurements]


def _credible(measurement: Row, link_mbps: float, most_mbps: float) -> Row:
    for key, words in _THROUGHPUTS:
        claimed = measurement.get(key)
        if claimed is not None and claimed > most_mbps:
            why = (
                f"reported {words} {figure(claimed)} Mbps through a network link of"
                f" {figure(link_mbps)} Mbps, which cannot be"
            )
            return _failed(measurement, why)
    return measurement


def _failed(measurement: Row, why: str) -> Row:
    known = measurement.get("failure")
    message = f"{why}; {known['message']}" if known else why
    return {
        **{name: value for name, value in measurement.items() if name not in _FIGURES},
        "failure": {"kind": FailureKind.TOOL_FAILED.value, "message": message[:2000]},
    }
