"""Who may read and do what: one decision for every field of the schema, and where it is enforced.

`python -m speedtrap_graph.api.guards.roles` prints docs/roles.md.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema

from speedtrap_graph.errors import ForbiddenError
from speedtrap_graph.http.callers import Role


class May(Enum):
    """A decision: the roles that get through, and whether a probe's key only for its own probe."""

    ALL = (frozenset(Role), False)
    OWN = (frozenset(Role), True)
    """Everybody; a probe's key gets its own probe's only."""
    READ = (frozenset({Role.VIEWER, Role.BOT, Role.ADMIN}), False)
    LOOK = (frozenset({Role.VIEWER, Role.ADMIN}), False)
    MEASURE = (frozenset({Role.PROBE, Role.ADMIN}), True)
    """A probe in its own name, and an admin in any."""
    POST = (frozenset({Role.BOT, Role.ADMIN}), False)
    RULE = (frozenset({Role.ADMIN}), False)

    @property
    def roles(self) -> frozenset[Role]:
        return self.value[0]

    @property
    def own(self) -> bool:
        return self.value[1]


ROOTS: Mapping[str, Mapping[May, str]] = {
    "Query": {
        May.ALL: "me",
        May.OWN: "probes probe runs run history serviceReport findings probeEvents breaches breach",
        May.READ: "changes notices notice dueForDigest stops sending channels",
        May.LOOK: "deletedRun deletedRuns plans",
        May.POST: "eventCursor",
        May.RULE: "rejudgePreview keys retention deletedProbes",
    },
    "Mutation": {
        May.MEASURE: "submitRuns heartbeat",
        May.POST: "draftNotice planNotice claimNotice beginSending settleNotice claimCheck "
        "recordBounce "
        "stopRecipient saveEventCursor reportChannel claimTest settleTest",
        May.RULE: "deleteRun deleteProbe setPlan setRule deleteRule rejudge silence approveNotice "
        "rejectNotice resolveNotice setSending setRetention sendTest",
    },
    "Subscription": {
        May.OWN: "runs",
        May.READ: "breaches probeEvents",
    },
}
"""What an operation may begin with."""

FOLLOWING: Mapping[str, str] = {
    "Attachment": "name mediaType altText sha256 sizeBytes contentBase64",
    "Breach": "id reference probe rule plan status firstRunAt openedAt lastRunAt resolvedAt count "
    "medianMbps subscribedMbps stale runs window observations",
    "BreachObservation": "run value threshold broken inBreach",
    "BreachChange": "kind probe rule before after wouldBeAnnounced withdrawn contradicted",
    "BreachConnection": "edges nodes pageInfo",
    "BreachEdge": "cursor node",
    "BreachEvent": "cursor kind at breach",
    "BreachFigures": "status firstRunAt openedAt lastRunAt resolvedAt count median",
    "Caller": "name role",
    "Channel": "name alive workers lastSeenAt state since why recipient needsLeave waiting due "
    "unknown sent dead lastTest",
    "ChannelTest": "id channel state askedAt askedBy endedAt why",
    "Claim": "notice fence leaseUntil leaseS sendingLeaseS",
    "Conditions": "lineUp medium crossTrafficMbps crossTrafficDownMbps crossTrafficUpMbps "
    "cpuPercent cpuWaitPercent publicIpHash platform probeVersion linkMbps vpn onBattery "
    "clockOffsetMs notes",
    "DeletedProbe": "name by reason at doneAt runs breaches notices documents",
    "DeletedRun": "id probe startedAt deletedAt by reason",
    "Failure": "kind message",
    "Figure": "median n",
    "Finding": "probe tool metric rule since lastRunAt endedAt count median others",
    "History": "probe metric tool t bucketS median p10 p90 min max n below outages inconclusive "
    "subscribedMbps exact",
    "HourFigure": "weekday hour median medianRatio n",
    "Measurement": "tool local toolVersion startedAt durationS downloadMbps uploadMbps latencyMs "
    "jitterMs packetLossRatio loadedLatencyDownMs loadedLatencyUpMs bytesReceived bytesSent server "
    "resultUrl failure",
    "Key": "name role lastSeenAt",
    "Notice": "id reference stage channel recipient status subject text html attachments digest "
    "plannedAt approvedAt sentAt dueAt attempts externalReference contradictedAt contradictedWhy "
    "steps breach covers toldIn obstacle",
    "NoticeConnection": "edges nodes pageInfo",
    "NoticeEdge": "cursor node",
    "NoticeStep": "at by status why",
    "OtherTool": "tool n median",
    "OutageSummary": "count durationS",
    "PageInfo": "hasNextPage endCursor",
    "Plan": "id probe provider downloadMbps uploadMbps timeZone since",
    "Probe": "name runCount firstRunAt lastSeenAt silentSince rawSince expectedAt silentAt silent "
    "plan plans rules lastRun streak openBreach silence",
    "ProbeEvent": "cursor kind probe silentSince at",
    "RejectedRun": "id index field message",
    "Retention": "days at by sweptAt removedRuns",
    "RejudgePreview": "probes runs runsChanged appearing vanishing changing changes",
    "Rule": "id probe name metric tool belowRatio belowMbps aboveMs aboveRatio moreThan outOf "
    "onlyAtPeak recoveredAfter",
    "Run": "id probe startedAt finishedAt receivedAt conditions measurements outcome outcomeReason "
    "downloadMbps uploadMbps latencyMs plan ratioOfSubscribed",
    "RunConnection": "edges nodes pageInfo",
    "RunEdge": "cursor node",
    "SendingSwitch": "on at by reason",
    "Server": "id name host location",
    "ServiceReport": "probe since until plan verdict judgedRuns judgedByPeak n outageRuns "
    "inconclusiveRuns medianMbps medianRatio fccBand consistentMbps consistentRatio peak offPeak "
    "belowCount belowShare outages longestStreak currentStreak tools hours percentiles exact",
    "Silence": "probe until reason by",
    "Stop": "recipient at by reason",
    "SubmitRunsResult": "accepted duplicates rejected",
    "ToolFigure": "tool local median medianRatio n failures",
}
"""Fields that whoever may have their object may have too."""

INNER: Mapping[str, May] = {"Breach.notices": May.READ}
"""Fields that not everybody may have who may have their object."""


@dataclass(frozen=True, slots=True)
class Decision:
    """*may* is None for a field that follows its object."""

    field: str
    may: May | None


class UndecidedError(ValueError):
    """The schema has a field without a decision, or a decision has no field."""


def decisions() -> dict[str, Decision]:
    """By `Type.field`, as the tables above have them."""
    found = {
        f"{root}.{name}": may
        for root, by_may in ROOTS.items()
        for may, names in by_may.items()
        for name in names.split()
    }
    follows = [f"{owner}.{name}" for owner, names in FOLLOWING.items() for name in names.split()]
    decided: dict[str, May | None] = {**found, **INNER, **dict.fromkeys(follows)}
    return {field: Decision(field, may) for field, may in decided.items()}


def enforce(schema: GraphQLSchema) -> None:
    """Has every field check the caller's role before it resolves; UndecidedError for a gap."""
    decided = decisions()
    fields = dict(_fields(schema))
    if gap := fields.keys() ^ decided.keys():
        raise UndecidedError(f"api/roles.py and the schema differ in {', '.join(sorted(gap))}")
    for name, field in fields.items():
        may = decided[name].may
        if may is None or may.roles == frozenset(Role):
            continue
        if field.subscribe is not None:
            field.subscribe = _guarded(field.subscribe, may)
        elif field.resolve is not None:
            field.resolve = _guarded(field.resolve, may)


def _fields(schema: GraphQLSchema) -> Iterator[tuple[str, GraphQLField]]:
    for owner in schema.type_map.values():
        if isinstance(owner, GraphQLObjectType) and not owner.name.startswith("__"):
            for name, field in owner.fields.items():
                yield f"{owner.name}.{name}", field


def _guarded(resolve: Callable[..., Any], may: May) -> Callable[..., Any]:
    def guarded(source: Any, info: Any, **arguments: Any) -> Any:
        _require(info.context.caller.role, may)
        return resolve(source, info, **arguments)

    return guarded


def _require(role: Role, may: May) -> None:
    if role not in may.roles:
        allowed = [each.value for each in Role if each in may.roles]
        raise ForbiddenError(
            f"this needs a key with the role {' or '.join(allowed)}, and this key's is {role}",
            allowed=allowed,
        )


def as_markdown() -> str:
    """docs/roles.md."""
    roles = list(Role)
    lines = [
        "# Who may do what",
        "",
        "Written by `python -m speedtrap_graph.api.guards.roles` from the table there, which the",
        "service enforces; a field of the schema without a decision there keeps the service",
        "from starting. *own*: a probe's key for its own probe only. Without a known key every",
        "operation is answered with 401.",
        "",
        f"| field | {' | '.join(role.value.lower() for role in roles)} |",
        f"|---|{'---|' * len(roles)}",
    ]
    for decision in decisions().values():
        if decision.may is not None:
            marks = " | ".join(_mark(decision.may, role) for role in roles)
            lines.append(f"| `{decision.field}` | {marks} |")
    lines += [
        "",
        "Every other field follows its object: who may have that may have these too. The schema's",
        "own fields (`__schema`, `__type`) are for every role but `probe`.",
        "",
        "| object | fields |",
        "|---|---|",
    ]
    for owner, names in FOLLOWING.items():
        lines.append(f"| `{owner}` | {' '.join(f'`{name}`' for name in names.split())} |")
    return "\n".join(lines) + "\n"


def _mark(may: May, role: Role) -> str:
    if role not in may.roles:
        return "no"
    return "own" if may.own and role is Role.PROBE else "yes"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
