"""The values that the bots work with, as graph answers them. Times are UTC-aware."""

from base64 import b64decode
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Stage(StrEnum):
    """Which letter of a breach's correspondence."""

    OPENING = "OPENING"
    REMINDER = "REMINDER"
    RECOVERY = "RECOVERY"
    DIGEST = "DIGEST"


class SettleOutcome(StrEnum):
    """How a delivery ended."""

    SENT = "SENT"
    UNAVAILABLE = "UNAVAILABLE"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class ChannelState(StrEnum):
    """How a channel is."""

    STOPPED = "STOPPED"
    READY = "READY"
    QUIET = "QUIET"
    UNCONFIGURED = "UNCONFIGURED"
    ENDED = "ENDED"


class _Answer(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, extra="ignore"
    )


class Plan(_Answer):
    """What was purchased."""

    provider: str
    download_mbps: float
    upload_mbps: float | None = None
    time_zone: str = "UTC"


class Rule(_Answer):
    """When the line counts as broken; exactly one bound is set.

    More than `more_than` in a row, or of the last `out_of`; with a `tool`, by its figures alone.
    """

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


class Failure(_Answer):
    kind: str
    message: str


class Server(_Answer):
    name: str | None = None
    location: str | None = None


class Measurement(_Answer):
    """One execution of one tool. What was not measured is None.

    `local`: it is about the home network, not the line.
    """

    tool: str
    local: bool = False
    tool_version: str | None = None
    started_at: datetime
    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    jitter_ms: float | None = None
    packet_loss_ratio: float | None = None
    loaded_latency_down_ms: float | None = None
    loaded_latency_up_ms: float | None = None
    server: Server | None = None
    failure: Failure | None = None


class Conditions(_Answer):
    medium: str = "UNKNOWN"
    cross_traffic_mbps: float | None = None
    cross_traffic_down_mbps: float | None = None
    cross_traffic_up_mbps: float | None = None
    platform: str | None = None
    probe_version: str | None = None


class Run(_Answer):
    """One round of all tools, with the best internet tool's figures as graph judged them."""

    id: str
    started_at: datetime
    outcome: str
    outcome_reason: str = ""
    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    conditions: Conditions = Conditions()
    measurements: tuple[Measurement, ...] = ()


class Observation(_Answer):
    """What a run says to the breach's rule. `broken` is None where it says nothing."""

    run: str
    value: float | None = None
    broken: bool | None = None
    in_breach: bool = False


class NoticeSummary(_Answer):
    """That a notice exists, and how far it got."""

    stage: str
    channel: str
    recipient: str
    status: str
    sent_at: datetime | None = None


class BreachSummary(_Answer):
    """As much of a breach as the decision needs whether a letter is missing."""

    id: str
    reference: str
    status: str
    stale: bool
    last_run_at: datetime
    """The start of the newest run that broke the rule."""
    resolved_at: datetime | None = None
    notices: tuple[NoticeSummary, ...] = ()


class Figure(_Answer):
    """A median of *n* observations, in Mbps."""

    median: float | None = None
    n: int = 0


class Outages(_Answer):
    count: int = 0
    duration_s: float = 0


class ServiceReport(_Answer):
    """What the line delivered from *since* to *until*, as graph computed it."""

    since: datetime
    until: datetime
    n: int = 0
    median_mbps: float | None = None
    median_ratio: float | None = None
    fcc_band: str | None = None
    consistent_mbps: float | None = None
    consistent_ratio: float | None = None
    peak: Figure = Figure()
    off_peak: Figure = Figure()
    below_share: float | None = None
    outages: Outages = Outages()


class Breach(_Answer):
    """A breach with its evidence: its own runs, and all runs around it, the good ones too."""

    id: str
    reference: str
    probe: str
    status: str
    rule: Rule
    plan: Plan
    first_run_at: datetime
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None = None
    count: int
    median_mbps: float | None = None
    subscribed_mbps: float
    runs: tuple[Run, ...]
    window: tuple[Run, ...]
    observations: tuple[Observation, ...] = ()
    notices: tuple[NoticeSummary, ...] = ()
    report: ServiceReport | None = None


class BreachEvent(_Answer):
    """Something happened to a breach; `cursor` is where to go on."""

    cursor: str
    kind: str
    breach: BreachSummary


class Attachment(_Answer):
    """A frozen file."""

    name: str
    media_type: str
    alt_text: str | None = None
    sha256: str
    content_base64: str

    @property
    def content(self) -> bytes:
        return b64decode(self.content_base64, validate=True)


class Step(_Answer):
    """One change of a notice's state."""

    at: datetime
    by: str
    status: str
    why: str | None = None


class Notice(_Answer):
    """One message about a breach, through one channel to one recipient, frozen when planned."""

    id: str
    reference: str
    stage: Stage
    channel: str
    recipient: str
    status: str
    subject: str = ""
    text: str = ""
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    digest: str = ""
    planned_at: datetime
    approved_at: datetime | None = None
    attempts: int = 0
    external_reference: str | None = None
    obstacle: str | None = None
    """Why it could not be sent as its channel is now."""
    steps: tuple[Step, ...] = ()


class Claim(_Answer):
    """The right to send one notice until `lease_until`, as long as nobody holds a higher fence.

    `lease_s` is how long that was when it was given, `sending_lease_s` how long it will be from the
    beginning of the sending on.
    """

    notice: Notice
    fence: int
    lease_until: datetime
    lease_s: float
    sending_lease_s: float


class Stop(_Answer):
    """Somebody asked for no more."""

    recipient: str
    at: datetime
    by: str
    reason: str


class ChannelTest(_Answer):
    """One real message to the subscriber, which a person asked for."""

    id: str
    state: str
    why: str | None = None


class ChannelSummary(_Answer):
    """How a channel is, as graph knows it from its bots, and how many notices it has."""

    name: str
    alive: bool
    workers: int
    last_seen_at: datetime | None = None
    state: ChannelState | None = None
    why: str | None = None
    recipient: str = ""
    needs_leave: bool = True
    waiting: int = 0
    due: int = 0
    unknown: int = 0
    sent: int = 0
    dead: int = 0
    last_test: ChannelTest | None = None
