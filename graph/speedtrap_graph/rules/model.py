"""The values that the rules speak in. Times are UTC-aware; throughputs are Mbps of payload.

What is made anew for every run is a named tuple: a frozen dataclass takes four times as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID


class Outcome(StrEnum):
    """What a run says about the line."""

    MEASURED = "MEASURED"
    OUTAGE = "OUTAGE"
    INCONCLUSIVE = "INCONCLUSIVE"


class Metric(StrEnum):
    """A figure that a tool can give. For throughputs more is better, for all others less."""

    DOWNLOAD = "DOWNLOAD"
    UPLOAD = "UPLOAD"
    LATENCY = "LATENCY"
    JITTER = "JITTER"
    PACKET_LOSS = "PACKET_LOSS"
    LOADED_LATENCY_DOWN = "LOADED_LATENCY_DOWN"
    LOADED_LATENCY_UP = "LOADED_LATENCY_UP"

    @property
    def more_is_better(self) -> bool:
        return self is Metric.DOWNLOAD or self is Metric.UPLOAD

    def is_worse(self, value: float, than: float) -> bool:
        return value < than if self.more_is_better else value > than


class FailureKind(StrEnum):
    """Why a tool has no figure."""

    NO_NETWORK = "NO_NETWORK"
    TIMEOUT = "TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    TOOL_MISSING = "TOOL_MISSING"
    TOOL_FAILED = "TOOL_FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was purchased, in force from `since` until the next plan."""

    provider: str
    download_mbps: float
    upload_mbps: float | None
    time_zone: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """When a line is said to be broken. Exactly one of the four bounds is set.

    `below_ratio` is of the subscribed speed and `below_mbps` absolute (throughputs);
    `above_ms` is for latencies and jitter, `above_ratio` (0..1) for packet loss. It is broken by
    more than `more_than` bad observations of the last `out_of`; None: in a row. One with a `tool`
    looks at that tool's figures and not at the best of all. `name` tells apart those of one metric;
    the one without a name is the metric's main rule, which reports and histories speak of.
    """

    metric: Metric = Metric.DOWNLOAD
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int = 5
    recovered_after: int = 1
    name: str = ""
    out_of: int | None = None
    only_at_peak: bool = False
    tool: str | None = None

    @property
    def window(self) -> int:
        """Of how many observations the bad ones are counted."""
        return self.more_than + 1 if self.out_of is None else self.out_of


DEFAULT_RULE = Rule(metric=Metric.DOWNLOAD, below_ratio=0.5)


class Reading(NamedTuple):
    """One tool's word in a run: figures by metric (only what was measured), or a failure."""

    tool: str
    figures: Mapping[Metric, float]
    failure: FailureKind | None = None


class Medium(StrEnum):
    """What the probe's interface sends over."""

    WIRED = "WIRED"
    WIFI = "WIFI"
    UNKNOWN = "UNKNOWN"


class RunFacts(NamedTuple):
    """What the judgement of a run looks at.

    Cross traffic is the household's own, in Mbps: in total, and by direction where the probe tells
    them apart. `cpu_wait_percent` is the share of the run's time for which the probe was ready to
    run and was given no processor.
    """

    id: UUID
    started_at: datetime
    finished_at: datetime
    line_up: bool | None
    cross_traffic_mbps: float | None
    readings: tuple[Reading, ...]
    cpu_percent: float | None = None
    vpn: bool | None = None
    medium: Medium = Medium.WIRED
    link_mbps: float | None = None
    cross_traffic_down_mbps: float | None = None
    cross_traffic_up_mbps: float | None = None
    cpu_wait_percent: float | None = None


class Judgement(NamedTuple):
    """A run's outcome, why in words, and its observations: the best internet tool's figures.

    `limits` are of a run whose conditions may explain bad figures: one that breaks a bound beyond
    its metric's limit is no evidence. `doubtful` are the figures that statistics leave out for
    that; they still count for a rule whose bound they keep.
    """

    outcome: Outcome
    reason: str
    best: Mapping[Metric, float]
    limits: Mapping[Metric, float] = MappingProxyType({})
    doubtful: Mapping[Metric, float] = MappingProxyType({})


class Observation(NamedTuple):
    """What one run says to one rule.

    `value` is None unless the run was MEASURED and gave this metric. `threshold` is the rule's
    bound in the metric's unit under the plan in force at the run's start; None without one, and at
    a time or in a run that the rule does not look at.
    """

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    outcome: Outcome
    value: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch in which a rule was broken: from its first bad run to the one that ended it."""

    first_run_at: datetime
    first_run_id: UUID
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None
    count: int
    median: float | None
