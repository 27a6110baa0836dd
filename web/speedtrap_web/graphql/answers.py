"""What graph answers, typed. Throughputs are Mbps, ratios 0..1, times UTC-aware."""

from datetime import datetime
from decimal import Decimal
from math import isclose

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Plan(Answer):
    id: str
    probe: str | None = None
    provider: str
    download_mbps: float
    upload_mbps: float | None = None
    time_zone: str
    since: datetime


class Rule(Answer):
    """With a `name` it is one of several for its metric; reports speak of the one without."""

    id: str = ""
    probe: str | None = None
    name: str = ""
    metric: str = "DOWNLOAD"
    tool: str | None = None
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int = 5
    out_of: int | None = None
    only_at_peak: bool = False
    recovered_after: int = 1

    def threshold(self, subscribed_mbps: float | None) -> float | None:
        """The bound in the metric's own unit: Mbps or ms."""
        for bound in (self.below_mbps, self.above_ms, self.above_ratio):
            if bound is not None:
                return bound
        if self.below_ratio is not None and subscribed_mbps is not None:
            # As graph does it: 0.55 of 100 is 55, and as binary floats a little more.
            return float(Decimal(repr(self.below_ratio)) * Decimal(repr(subscribed_mbps)))
        return None


class Failure(Answer):
    kind: str
    message: str


class Server(Answer):
    name: str | None = None
    location: str | None = None


class Measurement(Answer):
    """`local`: it says nothing about the line."""

    tool: str
    local: bool = False
    tool_version: str | None = None
    duration_s: float
    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    jitter_ms: float | None = None
    packet_loss_ratio: float | None = None
    loaded_latency_down_ms: float | None = None
    loaded_latency_up_ms: float | None = None
    server: Server | None = None
    failure: Failure | None = None


class Conditions(Answer):
    line_up: bool | None = None
    medium: str = "UNKNOWN"
    cross_traffic_mbps: float | None = None
    cpu_percent: float | None = None
    platform: str | None = None
    probe_version: str | None = None


class Run(Answer):
    id: str
    probe: str = ""
    received_at: datetime | None = None
    started_at: datetime
    finished_at: datetime
    outcome: str
    outcome_reason: str
    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    ratio_of_subscribed: float | None = None
    plan: Plan | None = None
    conditions: Conditions
    measurements: list[Measurement]


class OpenBreach(Answer):
    id: str
    reference: str
    opened_at: datetime
    first_run_at: datetime
    count: int
    median_mbps: float | None = None


class DeletedRun(Answer):
    id: str
    probe: str
    started_at: datetime
    deleted_at: datetime
    by: str
    reason: str


class Silence(Answer):
    until: datetime
    reason: str
    by: str = ""


class BreachThen(Answer):
    """A breach before or after a change; only one that is on record has a reference."""

    reference: str = ""
    first_run_at: datetime
    count: int


class Sent(Answer):
    id: str


class BreachChange(Answer):
    kind: str
    probe: str
    before: BreachThen | None = None
    after: BreachThen | None = None
    would_be_announced: bool
    withdrawn: list[Sent] | None = None
    contradicted: list[Sent] | None = None


class Preview(Answer):
    """What a plan or a rule would change."""

    probes: int
    runs: int
    runs_changed: int
    appearing: int
    vanishing: int
    changing: int
    changes: list[BreachChange]


class OtherTool(Answer):
    tool: str
    n: int
    median: float


class Finding(Answer):
    """One tool that broke a rule in run after run in which the others kept it."""

    tool: str
    metric: str
    since: datetime
    last_run_at: datetime
    ended_at: datetime | None = None
    count: int
    median: float
    others: list[OtherTool]


class Stop(Answer):
    """Who wants no more."""

    recipient: str
    at: datetime
    by: str
    reason: str


class Switch(Answer):
    """The switch for everything that is sent."""

    on: bool
    at: datetime
    by: str
    reason: str


class ChannelTest(Answer):
    """One real message to the subscriber, and how it ended."""

    state: str
    asked_at: datetime
    asked_by: str
    ended_at: datetime | None = None
    why: str | None = None


class Channel(Answer):
    """A way out, by what its bots say of it; `state` is None while none was ever heard of."""

    name: str
    alive: bool
    last_seen_at: datetime | None = None
    state: str | None = None
    since: datetime | None = None
    why: str | None = None
    recipient: str = ""
    needs_leave: bool = True
    waiting: int = 0
    due: int = 0
    unknown: int = 0
    sent: int = 0
    dead: int = 0
    last_test: ChannelTest | None = None


class Key(Answer):
    """Who has a key; never the key."""

    name: str
    role: str
    last_seen_at: datetime | None = None


class Retention(Answer):
    """For how many days runs are kept one by one; None is for ever."""

    days: int | None = None
    at: datetime | None = None
    by: str | None = None
    swept_at: datetime | None = None
    removed_runs: int = 0


class DeletedProbe(Answer):
    """What is left of a probe that an admin took out."""

    name: str
    by: str
    reason: str
    at: datetime
    done_at: datetime | None = None
    runs: int
    breaches: int
    notices: int


class Probe(Answer):
    name: str
    run_count: int
    first_run_at: datetime | None = None
    last_seen_at: datetime | None = None
    expected_at: datetime | None = None
    silent_at: datetime | None = None
    silent: bool = False
    streak: int
    plan: Plan | None = None
    plans: list[Plan] = []
    rules: list[Rule] = []
    silence: Silence | None = None
    open_breach: OpenBreach | None = None
    last_run: Run | None = None

    @property
    def download_rule(self) -> Rule | None:
        return self.rule_of("DOWNLOAD")

    def rule_of(self, metric: str) -> Rule | None:
        found = (rule for rule in self.rules if rule.metric == metric and not rule.name)
        return next(found, None)


class History(Answer):
    """Columns of equal length, one entry a bucket; None where a bucket is empty."""

    bucket_s: float
    t: list[float]
    median: list[float | None]
    p10: list[float | None]
    p90: list[float | None]
    min: list[float | None]
    max: list[float | None]
    n: list[int]
    below: list[int]
    outages: list[int]
    inconclusive: list[int]
    subscribed_mbps: list[float | None]

    def followed_by(self, later: "History") -> "History":
        """The two one behind the other; `bucket_s` stays that of the longer."""
        mine, others = dict(self), dict(later)
        columns = {name: mine[name] + others[name] for name in mine if name != "bucket_s"}
        longer = max(self, later, key=lambda history: len(history.t))
        return History(bucket_s=longer.bucket_s, **columns)


class Figure(Answer):
    median: float | None = None
    n: int


class ToolFigure(Answer):
    """`median_ratio` is of its figures over the subscribed speed of their own time."""

    tool: str
    local: bool = False
    median: float | None = None
    median_ratio: float | None = None
    n: int
    failures: int


class HourFigure(Answer):
    weekday: int
    hour: int
    median: float | None = None
    median_ratio: float | None = None
    n: int


class OutageSummary(Answer):
    count: int
    duration_s: float


class ServiceReport(Answer):
    verdict: str
    judged_runs: int
    judged_by_peak: bool
    n: int
    outage_runs: int
    inconclusive_runs: int
    plan: Plan | None = None
    median_mbps: float | None = None
    median_ratio: float | None = None
    fcc_band: str | None = None
    consistent_mbps: float | None = None
    consistent_ratio: float | None = None
    peak: Figure
    off_peak: Figure
    below_count: int
    below_share: float | None = None
    outages: OutageSummary
    longest_streak: int
    current_streak: int
    tools: list[ToolFigure]
    hours: list[HourFigure]
    percentiles: list[float] = []

    @property
    def has_several_plans(self) -> bool:
        """Whether its ratios, each by the plan of its run's time, are not those of one plan."""
        if self.plan is None or self.median_mbps is None or self.median_ratio is None:
            return False
        by_one = self.median_mbps / self.plan.download_mbps
        return not isclose(by_one, self.median_ratio, rel_tol=1e-6)


class NoticeStep(Answer):
    at: datetime
    status: str
    why: str | None = None
    by: str = ""


class ToldIn(Answer):
    """The digest that tells of what the limits held back."""

    id: str
    reference: str
    status: str
    sent_at: datetime | None = None


class NoticeBrief(Answer):
    id: str
    stage: str
    channel: str
    status: str
    planned_at: datetime
    sent_at: datetime | None = None
    due_at: datetime | None = None
    contradicted_at: datetime | None = None
    contradicted_why: str | None = None
    told_in: ToldIn | None = None
    obstacle: str | None = None
    steps: list[NoticeStep] = []

    @property
    def why(self) -> str | None:
        """The reason for the present state, if one was given."""
        return self.steps[-1].why if self.steps else None


class Breach(Answer):
    id: str
    reference: str
    probe: str = ""
    plan: Plan | None = None
    status: str
    first_run_at: datetime
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None = None
    count: int
    median_mbps: float | None = None
    subscribed_mbps: float
    stale: bool
    rule: Rule
    notices: list[NoticeBrief] = []


class Observation(Answer):
    """What a run says to the breach's rule, as graph judged it; `broken` is None for nothing."""

    run: str
    value: float | None = None
    threshold: float | None = None
    broken: bool | None = None
    in_breach: bool = False


class Attachment(Answer):
    name: str
    media_type: str
    alt_text: str | None = None
    sha256: str
    size_bytes: int
    content_base64: str


class NoticeBreach(Answer):
    id: str
    reference: str
    probe: str
    status: str
    count: int
    opened_at: datetime
    resolved_at: datetime | None = None
    median_mbps: float | None = None
    subscribed_mbps: float
    plan: Plan


class CoveredBreach(Answer):
    """One of those that a digest tells of."""

    id: str
    reference: str
    status: str
    first_run_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None = None


class Notice(NoticeBrief):
    """One notice with everything that would be sent."""

    reference: str
    recipient: str
    subject: str
    text: str
    html: str | None = None
    digest: str
    approved_at: datetime | None = None
    attempts: int
    external_reference: str | None = None
    attachments: list[Attachment] = []
    covers: list[CoveredBreach] = []
    breach: NoticeBreach


class NoticeLetter(Answer):
    """What a notice says, and the digest that an approval of exactly that gives back."""

    id: str
    stage: str
    channel: str
    recipient: str
    status: str
    subject: str
    text: str
    digest: str
    obstacle: str | None = None
