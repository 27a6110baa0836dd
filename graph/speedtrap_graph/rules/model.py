"""The values that the rules speak in. Times are UTC-aware; throughputs are Mbps of payload."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
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
        return self in {Metric.DOWNLOAD, Metric.UPLOAD}


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
    `above_ms` is for latencies and jitter, `above_ratio` (0..1) for packet loss.
    """

    metric: Metric = Metric.DOWNLOAD
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int = 5
    recovered_after: int = 1
    only_at_peak: bool = False


DEFAULT_RULE = Rule(metric=Metric.DOWNLOAD, below_ratio=0.5)


@dataclass(frozen=True, slots=True)
class Reading:
    """One tool's word in a run: figures by metric (only what was measured), or a failure."""

    tool: str
    figures: Mapping[Metric, float]
    failure: FailureKind | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the judgement of a run looks at."""

    id: UUID
    started_at: datetime
    finished_at: datetime
    line_up: bool | None
    cross_traffic_mbps: float | None
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A run's outcome, why in words, and its observations: the best internet tool's figures."""

    outcome: Outcome
    reason: str
    best: Mapping[Metric, float]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run says to one rule.

    `value` is None unless the run was MEASURED and gave this metric. `threshold` is the rule's
    bound in the metric's unit under the plan in force at the run's start, None without one.
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
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None
    bad_run_ids: tuple[UUID, ...]
    median: float | None

    @property
    def count(self) -> int:
        return len(self.bad_run_ids)
