"""The times between changes of plan: within one, a line has one plan and a rule one bound."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from speedtrap_graph.rules.model import Metric, Plan, Rule
from speedtrap_graph.rules.peak import is_peak
from speedtrap_graph.rules.plans import threshold

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ALWAYS_MS = -(2**62)


Standard = list[tuple[int, str, dict[str, float], dict[str, float]]]
"""Eras without their plans, to keep and to compare: since when, time zone, the bounds by metric at
peak and off peak."""


@dataclass(frozen=True, slots=True)
class Era:
    """From `since_ms` (milliseconds since the epoch) until the next. The bounds are of the metrics
    whose main rule says something under this plan, at peak and off peak; without a plan there are
    none, and local time is UTC.
    """

    since_ms: int
    time_zone: str
    at_peak: Mapping[Metric, float]
    off_peak: Mapping[Metric, float]
    plan: Plan | None = None

    def bounds(self, hour_of_week: int) -> Mapping[Metric, float]:
        """In an hour of `WeekClock`."""
        return self.at_peak if is_peak(*divmod(hour_of_week, 24)) else self.off_peak


class Eras:
    """All of them, oldest first; together they cover all of time."""

    def __init__(self, eras: Sequence[Era]) -> None:
        self.all = tuple(eras)
        self._starts = [era.since_ms for era in eras]

    @classmethod
    def of(cls, plans: Sequence[Plan], rules: Mapping[Metric, Rule]) -> Self:
        """*plans* sorted by `since`."""
        eras = [Era(_ALWAYS_MS, "UTC", {}, {})]
        for plan in plans:
            # A plan that comes into force within a millisecond holds from the next one on.
            since_ms = -((_EPOCH - plan.since) // _MILLISECOND)
            at_peak = _bounds(plan, rules)
            off_peak = {
                metric: bound for metric, bound in at_peak.items() if not rules[metric].only_at_peak
            }
            eras.append(Era(since_ms, plan.time_zone, at_peak, off_peak, plan))
        return cls(eras)

    @classmethod
    def by(cls, standard: Standard) -> Self:
        return cls(
            [
                Era(since_ms, zone, _by_metric(at_peak), _by_metric(off_peak))
                for since_ms, zone, at_peak, off_peak in standard
            ]
        )

    @property
    def standard(self) -> Standard:
        return [
            (era.since_ms, era.time_zone, _by_name(era.at_peak), _by_name(era.off_peak))
            for era in self.all
        ]

    def differing(self, other: "Eras") -> list[tuple[int, int]]:
        """The spans of time in which zone or bounds are not the same."""
        starts = sorted({*self._starts, *other._starts})  # noqa: SLF001 - another of this kind
        spans = zip(starts, [*starts[1:], -_ALWAYS_MS], strict=True)
        return [(start, end) for start, end in spans if _says(self, start) != _says(other, start)]

    def at(self, moment_ms: int) -> Era:
        return self.all[bisect_right(self._starts, moment_ms) - 1]

    def between(self, start_ms: int, end_ms: int) -> list[tuple[Era, int, int]]:
        """The parts of [*start_ms*, *end_ms*) that belong to one era each, in order."""
        ends = [*self._starts[1:], end_ms]
        parts = [
            (era, max(start_ms, era.since_ms), min(end, end_ms))
            for era, end in zip(self.all, ends, strict=True)
        ]
        return [(era, start, end) for era, start, end in parts if start < end]


def _bounds(plan: Plan, rules: Mapping[Metric, Rule]) -> dict[Metric, float]:
    bounds = {metric: threshold(rule, plan) for metric, rule in rules.items()}
    return {metric: bound for metric, bound in bounds.items() if bound is not None}


def _by_metric(bounds: Mapping[str, float]) -> dict[Metric, float]:
    return {Metric(name): bound for name, bound in bounds.items()}


def _by_name(bounds: Mapping[Metric, float]) -> dict[str, float]:
    return {metric.value: bounds[metric] for metric in sorted(bounds)}


def _says(eras: Eras, moment_ms: int) -> tuple[object, ...]:
    era = eras.at(moment_ms)
    return era.time_zone, era.at_peak, era.off_peak
