"""What a scrape of `/metrics` says, read by the Prometheus client's own parsers."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Figures:
    """Every sample by its name and its labels."""

    text: str
    samples: Mapping[tuple[str, Labels], float]
    documented: frozenset[str]
    """Metrics with a text of their own, whether or not they have samples."""

    def get(self, name: str, **labels: str) -> float | None:
        """The one sample; None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def of(self, name: str, **labels: str) -> dict[Labels, float]:
        """All samples with at least these labels."""
        wanted = frozenset(labels.items())
        return {
            found: value
            for (known, found), value in self.samples.items()
            if known == name and wanted <= found
        }

    def one(self, name: str, **labels: str) -> float:
        """The only sample with at least these labels."""
        [value] = self.of(name, **labels).values()
        return value

    def shared(self) -> dict[tuple[str, Labels], float]:
        """What is not of one process."""
        return {
            (name, labels): value
            for (name, labels), value in self.samples.items()
            if "process" not in dict(labels)
        }


def scraped(
    url: str, headers: Mapping[str, str] | None = None, *, in_open_metrics: bool = False
) -> Figures:
    """From the address of a `/metrics`; AssertionError unless it answers."""
    sent = {**(headers or {}), **({"Accept": OPEN_METRICS} if in_open_metrics else {})}
    answer = httpx.get(url, headers=sent, timeout=60)
    assert answer.status_code == 200, answer.text
    return read(answer.text, in_open_metrics=in_open_metrics)


def read(text: str, *, in_open_metrics: bool = False) -> Figures:
    """AssertionError for a sample that is there twice, ValueError for what is no such text."""
    families = list((open_metrics if in_open_metrics else plain)(text))
    samples: dict[tuple[str, Labels], float] = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value
    return Figures(text, samples, frozenset(family.name for family in families))
