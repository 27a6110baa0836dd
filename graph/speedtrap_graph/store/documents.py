"""What is kept in MongoDB. Beanie owns names, indexes and the ordinary reads."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from beanie import Document
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel


class NamedDocument(Document):
    """Its `_id` is a text that means something."""

    id: str  # type: ignore[assignment] # Beanie's base class knows ObjectIds only


class ProbeDocument(NamedDocument):
    """Bumped first in every transaction on its probe: this is what puts them in one order.

    Beside these fields it keeps how far its runs are judged: see `store.probes`.
    """

    seq: int = 0
    run_count: int = 0
    first_run_at: datetime | None = None
    last_seen_at: datetime | None = None
    next_run_at: datetime | None = None
    silent_since: datetime | None = None
    """Absent while it is heard of."""
    raw_since: datetime | None = None
    """Runs that started before then are in the rolled-up hours only."""

    class Settings:
        name = "probes"
        indexes: ClassVar = [
            IndexModel([("next_run_at", ASCENDING)]),
            IndexModel([("silent_since", ASCENDING)], sparse=True),
        ]


class ServerPart(BaseModel):
    id: str | None = None
    name: str | None = None
    host: str | None = None
    location: str | None = None


class FailurePart(BaseModel):
    kind: str
    message: str


class MeasurementPart(BaseModel):
    """One tool's execution. What was not measured is absent in the store and None here."""

    tool: str
    tool_version: str | None = None
    started_at: datetime
    duration_s: float
    download_mbps: float | None = None
    upload_mbps: float | None = None
    latency_ms: float | None = None
    jitter_ms: float | None = None
    packet_loss_ratio: float | None = None
    loaded_latency_down_ms: float | None = None
    loaded_latency_up_ms: float | None = None
    bytes_received: int | None = None
    bytes_sent: int | None = None
    server: ServerPart | None = None
    result_url: str | None = None
    failure: FailurePart | None = None


class ConditionsPart(BaseModel):
    line_up: bool | None = None
    medium: str = "UNKNOWN"
    cross_traffic_mbps: float | None = None
    cross_traffic_down_mbps: float | None = None
    cross_traffic_up_mbps: float | None = None
    cpu_percent: float | None = None
    cpu_wait_percent: float | None = None
    public_ip_hash: str | None = None
    platform: str | None = None
    probe_version: str | None = None
    link_mbps: float | None = None
    vpn: bool | None = None
    on_battery: bool | None = None
    clock_offset_ms: float | None = None
    notes: list[str] = Field(default_factory=list)


BREACHES_OF_A_RULE = [("probe", ASCENDING), ("rule_key", ASCENDING), ("first_run_at", ASCENDING)]
NOTICES_OF_A_CHANNEL = [("channel", ASCENDING), ("status", ASCENDING), ("due_at", ASCENDING)]
RUNS_OF_A_PROBE = [("probe", ASCENDING), ("started_at", DESCENDING), ("_id", DESCENDING)]


class RunDocument(Document):
    id: UUID  # type: ignore[assignment] # Beanie's base class knows ObjectIds only
    probe: str
    started_at: datetime
    finished_at: datetime
    received_at: datetime
    conditions: ConditionsPart = Field(default_factory=ConditionsPart)
    measurements: list[MeasurementPart]
    outcome: str
    outcome_reason: str
    best: dict[str, float] = Field(default_factory=dict)

    class Settings:
        name = "runs"
        indexes: ClassVar = [
            IndexModel(RUNS_OF_A_PROBE),
            IndexModel([("started_at", DESCENDING), ("_id", DESCENDING)]),
        ]


class PlanDocument(NamedDocument):
    """`_id` is `<probe or *>/<since>`: setting a plan for the same moment replaces it."""

    probe: str | None = None
    provider: str
    download_mbps: float
    upload_mbps: float | None = None
    time_zone: str
    since: datetime

    class Settings:
        name = "plans"
        indexes: ClassVar = [IndexModel([("probe", ASCENDING)])]


class RuleDocument(NamedDocument):
    """`_id` is `<probe or *>/<METRIC>`, and `/<name>` behind it for one with a name."""

    probe: str | None = None
    name: str = ""
    metric: str
    tool: str | None = None
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int
    out_of: int | None = None
    only_at_peak: bool = False
    recovered_after: int

    class Settings:
        name = "rules"
        indexes: ClassVar = [IndexModel([("probe", ASCENDING)])]


class StandardVersionDocument(NamedDocument):
    """`_id` is a probe, or * for all: raised with every change of its plans and rules."""

    seq: int

    class Settings:
        name = "standard_versions"


class RulePart(BaseModel):
    """The rule as it stood when the breach was last judged."""

    id: str
    probe: str | None = None
    name: str = ""
    metric: str
    tool: str | None = None
    below_ratio: float | None = None
    below_mbps: float | None = None
    above_ms: float | None = None
    above_ratio: float | None = None
    more_than: int
    out_of: int | None = None
    only_at_peak: bool = False
    recovered_after: int


class PlanPart(BaseModel):
    """The plan in force at the breach's first run."""

    id: str
    probe: str | None = None
    provider: str
    download_mbps: float
    upload_mbps: float | None = None
    time_zone: str
    since: datetime


class BreachDocument(NamedDocument):
    """`rule_key` is the rule's metric and name: the same for a probe's own rule and the default."""

    reference: str
    probe: str
    metric: str
    rule_key: str = ""
    rule: RulePart
    plan: PlanPart
    status: str
    first_run_at: datetime
    first_run: UUID
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None = None
    bad_count: int
    median: float | None = None
    subscribed_mbps: float
    stale: bool = False
    known_at: datetime

    class Settings:
        name = "breaches"
        indexes: ClassVar = [
            IndexModel(BREACHES_OF_A_RULE),
            IndexModel([("probe", ASCENDING), ("opened_at", DESCENDING), ("_id", DESCENDING)]),
            IndexModel([("opened_at", DESCENDING), ("_id", DESCENDING)]),
            IndexModel([("reference", ASCENDING)]),
        ]


class EventDocument(Document):
    """`_id` is the sequence number: in commit order and without holes."""

    id: int  # type: ignore[assignment] # Beanie's base class knows ObjectIds only
    kind: str
    breach: str
    probe: str
    at: datetime

    class Settings:
        name = "events"


PROBE_EVENTS = "probe_events"


class ProbeEventDocument(Document):
    """`_id` is the sequence number. That a probe has been silent, or had been, from `since` on."""

    id: int  # type: ignore[assignment] # Beanie's base class knows ObjectIds only
    kind: str
    probe: str
    since: datetime
    at: datetime

    class Settings:
        name = PROBE_EVENTS
        indexes: ClassVar = [IndexModel([("probe", ASCENDING), ("_id", DESCENDING)])]


class AttachmentPart(BaseModel):
    """`content` is left out of lists: a page of notices would be hundreds of megabytes."""

    name: str
    media_type: str
    alt_text: str | None = None
    sha256: str
    size_bytes: int
    content: bytes | None = None


class StepPart(BaseModel):
    at: datetime
    by: str
    status: str
    why: str | None = None


class NoticeDocument(NamedDocument):
    """`_id` is made of breach, stage, channel and recipient, so that planning is idempotent."""

    breach: str
    probe: str
    reference: str
    stage: str
    channel: str
    recipient: str
    status: str
    subject: str
    text: str
    html: str | None = None
    attachments: list[AttachmentPart] = Field(default_factory=list)
    digest: str
    planned_at: datetime
    approved_at: datetime | None = None
    sent_at: datetime | None = None
    due_at: datetime | None = None
    counted_at: datetime | None = None
    recipient_key: str | None = None
    attempts: int = 0
    fence: int = 0
    lease_until: datetime | None = None
    worker: str | None = None
    external_reference: str | None = None
    held_back_at: datetime | None = None
    """Since when the recipient's limits make it wait."""
    covers: list[str] = Field(default_factory=list)
    contradicted_at: datetime | None = None
    contradicted_why: str | None = None
    digest_notice: str | None = None
    check_at: datetime | None = None
    checks: int = 0
    steps: list[StepPart] = Field(default_factory=list)

    class Settings:
        name = "notices"
        indexes: ClassVar = [
            IndexModel([("planned_at", DESCENDING), ("_id", DESCENDING)]),
            IndexModel([("breach", ASCENDING), ("planned_at", DESCENDING)]),
            IndexModel([("covers", ASCENDING)]),
            IndexModel(NOTICES_OF_A_CHANNEL),
            IndexModel([("status", ASCENDING)]),
            IndexModel([("recipient_key", ASCENDING)], sparse=True),
        ]


class SilenceDocument(NamedDocument):
    """`_id` is the probe: the last word counts."""

    until: datetime
    reason: str
    by: str

    class Settings:
        name = "silences"


class StopDocument(NamedDocument):
    """`_id` is the recipient in lower case, who asked for no more. There is no way back."""

    recipient: str
    at: datetime
    by: str
    reason: str

    class Settings:
        name = "stops"


class SwitchDocument(NamedDocument):
    """`_id` is "sending": off means that nothing leaves, approved or not."""

    on: bool
    at: datetime
    by: str
    reason: str

    class Settings:
        name = "switches"


class RecipientDocument(NamedDocument):
    """Bumped first in every transaction that counts what a recipient gets."""

    seq: int = 0

    class Settings:
        name = "recipients"


class ChannelWorkerDocument(NamedDocument):
    """What a bot last said of itself; `_id` is `<channel>/<worker>`."""

    channel: str
    worker: str
    state: str
    why: str | None = None
    since: datetime
    """From when on it has been in this state, for this reason."""
    recipient: str = ""
    seen_at: datetime

    class Settings:
        name = "channel_workers"


class ChannelTestDocument(NamedDocument):
    """The last test that was asked for; `_id` is its channel, so there is one at a time."""

    test: str
    """Tells this one from those before."""
    state: str
    asked_at: datetime
    asked_by: str
    worker: str | None = None
    claimed_at: datetime | None = None
    ended_at: datetime | None = None
    why: str | None = None

    class Settings:
        name = "channel_tests"


class CursorDocument(NamedDocument):
    """Where a consumer got to in the events; `_id` is its name."""

    cursor: int

    class Settings:
        name = "cursors"


class CallerDocument(NamedDocument):
    """`_id` is `<name>:<role>`: when somebody with this key was last heard of."""

    name: str
    role: str
    last_seen_at: datetime

    class Settings:
        name = "callers"


class RetentionDocument(NamedDocument):
    """`_id` is "runs": after how many days they go, None for never."""

    days: int | None = None
    at: datetime | None = None
    by: str | None = None
    swept_at: datetime | None = None

    class Settings:
        name = "retention"


class PastRunDocument(Document):
    """A run whose time was over: what keeps it from being counted again."""

    id: UUID  # type: ignore[assignment] # Beanie's base class knows ObjectIds only
    probe: str
    started_at: datetime

    class Settings:
        name = "past_runs"
        indexes: ClassVar = [IndexModel([("probe", ASCENDING)])]


class DeletedProbeDocument(NamedDocument):
    """What is left of a probe: who deleted it, when and why; `counts` by collection."""

    probe: str
    by: str
    reason: str
    at: datetime
    done_at: datetime | None = None
    counts: dict[str, int] = Field(default_factory=dict)

    class Settings:
        name = "deleted_probes"


class RollupDocument(NamedDocument):
    """A rolled-up bucket: see `store.rollups`, which alone reads and writes them."""

    start: datetime

    class Settings:
        name = "rollups"


class RollupMarkDocument(Document):
    """Runs that started in [since, until] are not yet in the buckets as they are now."""

    probe: str
    since: datetime
    until: datetime

    class Settings:
        name = "rollup_marks"
        indexes: ClassVar = [IndexModel([("probe", ASCENDING), ("since", ASCENDING)])]


class RollupStateDocument(NamedDocument):
    """By which calendar, plans and rules a probe's buckets are; `_id` is the probe."""

    turn: int = 0

    class Settings:
        name = "rollup_states"


DOCUMENTS: list[type[Document]] = [
    ProbeDocument,
    RunDocument,
    PlanDocument,
    RuleDocument,
    StandardVersionDocument,
    BreachDocument,
    EventDocument,
    ProbeEventDocument,
    NoticeDocument,
    SilenceDocument,
    StopDocument,
    SwitchDocument,
    RecipientDocument,
    ChannelWorkerDocument,
    ChannelTestDocument,
    CursorDocument,
    CallerDocument,
    RetentionDocument,
    PastRunDocument,
    DeletedProbeDocument,
    RollupDocument,
    RollupMarkDocument,
    RollupStateDocument,
]
