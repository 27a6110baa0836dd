"""What is stored of an episode as a breach, and what subscribers are told of it. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from speedtrap_graph.rules.model import Episode, Metric
from speedtrap_graph.rules.plans import subscribed
from speedtrap_graph.services.judging.standards import Standards, pure_plan, rule_key
from speedtrap_graph.store.documents import BreachDocument, RuleDocument

STALE_AFTER = timedelta(hours=48)
"""A breach whose last bad run is older than this when it becomes known, as from an import or a new
rule, is history: recorded, and never announced as if it were news. One that a probe delivers after
days offline and that still goes on is news."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_breach(
    breach_id: str,
    probe: str,
    episode: Episode,
    rule: RuleDocument,
    standards: Standards,
    now: datetime,
    *,
    more_follows: bool = False,
) -> dict[str, Any]:
    """*more_follows*: later runs are yet to be judged, and may end what looks open now. Until they
    are, it is no news.
    """
    fields = _fields(episode, rule, standards)
    return {
        "_id": breach_id,
        "reference": reference_of(breach_id),
        "probe": probe,
        "known_at": now,
        "stale": more_follows or _is_stale(fields, now),
        **fields,
    }


@dataclass(frozen=True)
class Change:
    """What a breach becomes, and the kind of event that this is, None when nobody need know."""

    fields: dict[str, Any]
    kind: str | None


def change_of(
    before: BreachDocument,
    episode: Episode,
    rule: RuleDocument,
    standards: Standards,
    *,
    more_follows: bool = False,
) -> Change | None:
    """None where everything that is stored of *before* stays as it is."""
    fields = _fields(episode, rule, standards)
    fields["stale"] = before.stale and (more_follows or _is_stale(fields, before.known_at))
    if before.model_dump(include=fields.keys()) == fields:
        return None
    return Change(fields, None if fields["stale"] else _what_happened(before, fields))


def reference_of(breach_id: str) -> str:
    """`ST-XXXXXX` in Crockford's base 32: short enough for a phone call, and no O for a 0."""
    bits = int.from_bytes(hashlib.sha256(breach_id.encode()).digest()[:4], "big")
    return "ST-" + "".join(_CROCKFORD[bits >> shift & 31] for shift in range(25, -1, -5))


def is_stale(is_open: bool, last_run_at: datetime, known_at: datetime) -> bool:
    return not is_open or known_at - last_run_at > STALE_AFTER


def _is_stale(fields: dict[str, Any], known_at: datetime) -> bool:
    return is_stale(fields["status"] == "OPEN", fields["last_run_at"], known_at)


def _what_happened(before: BreachDocument, fields: dict[str, Any]) -> str | None:
    if before.stale:
        return "OPENED"
    if before.status == "OPEN" and fields["status"] == "RESOLVED":
        return "RESOLVED"
    compared = ("bad_count", "first_run_at", "last_run_at", "status")
    same = all(getattr(before, name) == fields[name] for name in compared)
    return None if same else "GREW"


def _fields(episode: Episode, rule: RuleDocument, standards: Standards) -> dict[str, Any]:
    plan = standards.plan_document_at(episode.first_run_at)
    if plan is None:
        raise LookupError("a run without a plan was judged to be bad")
    pure = pure_plan(plan)
    return {
        "metric": rule.metric,
        "rule_key": rule_key(rule),
        "rule": _part(rule),
        "plan": _part(plan),
        "status": "OPEN" if episode.resolved_at is None else "RESOLVED",
        "first_run_at": episode.first_run_at,
        "first_run": episode.first_run_id,
        "opened_at": episode.opened_at,
        "last_run_at": episode.last_run_at,
        "resolved_at": episode.resolved_at,
        "bad_count": episode.count,
        "median": episode.median,
        "subscribed_mbps": subscribed(pure, Metric(rule.metric)) or pure.download_mbps,
    }


def _part(document: Any) -> dict[str, Any]:
    row: dict[str, Any] = document.model_dump(exclude={"revision_id"})
    return row
