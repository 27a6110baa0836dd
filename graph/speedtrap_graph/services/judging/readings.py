"""How the rules' metrics are named in a stored measurement, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

from speedtrap_graph.rules.model import FailureKind, Metric, Reading
from speedtrap_graph.rules.summary import RunFigures

FIGURE_KEYS: Mapping[Metric, str] = {
    Metric.DOWNLOAD: "download_mbps",
    Metric.UPLOAD: "upload_mbps",
    Metric.LATENCY: "latency_ms",
    Metric.JITTER: "jitter_ms",
    Metric.PACKET_LOSS: "packet_loss_ratio",
    Metric.LOADED_LATENCY_DOWN: "loaded_latency_down_ms",
    Metric.LOADED_LATENCY_UP: "loaded_latency_up_ms",
}
_KEYS = tuple(FIGURE_KEYS.items())
_NO_LIMITS: Mapping[Metric, float] = {}


def readings_of(
    measurements: Iterable[Mapping[str, Any]], only: Metric | None = None
) -> tuple[Reading, ...]:
    """What each tool said, or said on one metric, from the measurements of a stored run."""
    keys = _KEYS if only is None else ((only, FIGURE_KEYS[only]),)
    return tuple([_reading(measurement, keys) for measurement in measurements])


def _reading(measurement: Mapping[str, Any], keys: Iterable[tuple[Metric, str]]) -> Reading:
    figures = {
        metric: float(value) for metric, key in keys if (value := measurement.get(key)) is not None
    }
    failure = measurement.get("failure")
    kind = FailureKind(failure["kind"]) if failure else None
    return Reading(measurement["tool"], figures, kind)


class FigureReader:
    """Reads stored runs for summaries: only what these look at, and as cheaply as may be."""

    def __init__(self, metrics: Iterable[Metric] = tuple(Metric)) -> None:
        self._keys = [(metric, metric.value, FIGURE_KEYS[metric]) for metric in metrics]
        self.projection = dict.fromkeys(
            (
                "started_at",
                "finished_at",
                "outcome",
                *(f"best.{name}" for _, name, _ in self._keys),
                *(f"limits.{name}" for _, name, _ in self._keys),
                "measurements.tool",
                *(f"measurements.{key}" for _, _, key in self._keys),
                "measurements.failure.kind",
            ),
            1,
        )

    def read(self, row: Mapping[str, Any]) -> RunFigures:
        best = row["best"]
        return RunFigures(
            start_ms=round(row["started_at"].timestamp() * 1000),
            end_ms=round(row["finished_at"].timestamp() * 1000),
            outcome=row["outcome"],
            best={metric: best[name] for metric, name, _ in self._keys if name in best},
            readings=[
                (
                    measurement["tool"],
                    {
                        metric: measurement[key]
                        for metric, _, key in self._keys
                        if measurement.get(key) is not None
                    },
                    measurement.get("failure") is not None,
                )
                for measurement in row["measurements"]
            ],
            limits=self._limits(row["limits"]) if row.get("limits") else _NO_LIMITS,
        )

    def _limits(self, limits: Mapping[str, float]) -> dict[Metric, float]:
        return {metric: limits[name] for metric, name, _ in self._keys if name in limits}
