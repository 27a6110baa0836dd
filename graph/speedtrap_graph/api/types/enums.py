"""GraphQL's enums, out of those that the rules and services speak in."""

from enum import Enum

import strawberry

from speedtrap_graph.http.callers import Role
from speedtrap_graph.rules.model import FailureKind, Metric, Outcome
from speedtrap_graph.rules.permission import NoticeStatus, Stage
from speedtrap_graph.rules.report import FccBand, Verdict
from speedtrap_graph.services.breaches.preview import BreachChangeKind
from speedtrap_graph.services.notices.channels import ChannelState, ChannelTestState
from speedtrap_graph.services.notices.outcomes import SettleOutcome
from speedtrap_graph.services.probes.silence import ProbeEventKind


@strawberry.enum
class BreachStatus(Enum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"
    RETRACTED = "RETRACTED"


@strawberry.enum
class BreachEventKind(Enum):
    OPENED = "OPENED"
    GREW = "GREW"
    RESOLVED = "RESOLVED"
    RETRACTED = "RETRACTED"


@strawberry.enum
class Medium(Enum):
    WIRED = "WIRED"
    WIFI = "WIFI"
    UNKNOWN = "UNKNOWN"


# Strawberry marks these where they are; the names stay those of the rules and services.
strawberry.enum(Role)
strawberry.enum(Metric)
strawberry.enum(FailureKind)
strawberry.enum(Stage)
strawberry.enum(BreachChangeKind)
strawberry.enum(
    ProbeEventKind,
    description="PROBE_SILENT: its next run is overdue by more than 15 minutes and nothing was "
    "heard of it. PROBE_BACK: it was heard of again.",
)
strawberry.enum(
    Outcome,
    description="""\
What a run says about the line.
MEASURED: at least one tool measured the internet line fairly.
OUTAGE: the line was down: no tool got through and the connectivity check failed. Counts as below every threshold.
INCONCLUSIVE: tools broken, line busy or local network the bottleneck: neither extends nor breaks a streak.""",  # noqa: E501 - printed into the schema as it stands
)
strawberry.enum(
    NoticeStatus,
    description="""\
PLANNED: written; waits for approval.
APPROVED: a person approved it; it waits for its turn (caps and cool-down).
DUE: may be claimed by a worker.
CLAIMED: a worker has it. SENDING: the first byte may have left. SENT: it arrived.
DEAD: refused for good by the other side.
UNKNOWN: it may have arrived. Never repeated blindly. CHECKING: it is being looked up.
REJECTED: by a person. SUPPRESSED: held back by a rule; the reason is in its steps. SILENCED: the probe was.""",  # noqa: E501 - printed into the schema as it stands
)
strawberry.enum(
    SettleOutcome,
    description="""\
SENT: the other side has it. UNAVAILABLE: nothing left the house: may be tried again at `retryAt`.
REFUSED: refused for good. UNKNOWN: it may have arrived.
NOT_FOUND: looked up, and not there; twice in a row makes it DUE again.""",
)
strawberry.enum(
    ChannelState,
    description="""\
How a bot of a channel is.
STOPPED: it gave up until a person acts: a wrong password, an API that was withdrawn or wants money.
READY: it sends what is due. QUIET: in its quiet hours.
UNCONFIGURED: it has nobody to write to. ENDED: somebody ended it.""",
)
strawberry.enum(
    ChannelTestState,
    description="""\
ASKED: waits for a bot, which takes it within seconds. SENDING: a bot has it.
SENT: the other side took it. FAILED: it did not leave, or was refused. UNKNOWN: it may have
arrived. EXPIRED: no bot took it within five minutes; nothing was sent.""",
)
strawberry.enum(Verdict)
strawberry.enum(
    FccBand,
    description="FCC, Measuring Broadband America: median over subscribed speed of at least 0.95, "
    "0.80 to 0.95, below 0.80.",
)

__all__ = [
    "BreachChangeKind",
    "BreachEventKind",
    "BreachStatus",
    "ChannelState",
    "ChannelTestState",
    "FailureKind",
    "FccBand",
    "Medium",
    "Metric",
    "NoticeStatus",
    "Outcome",
    "ProbeEventKind",
    "Role",
    "SettleOutcome",
    "Stage",
    "Verdict",
]
