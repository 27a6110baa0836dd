"""What a worker's word about a sending makes of the notice. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from speedtrap_graph.errors import BadInputError, ConflictError
from speedtrap_graph.rules.permission import NoticeStatus
from speedtrap_graph.store.database import Row

RETRY_AFTER = timedelta(minutes=5)
_LONGEST_TEXT = 1000


class SettleOutcome(StrEnum):
    SENT = "SENT"
    UNAVAILABLE = "UNAVAILABLE"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


CHECKS_NEEDED = 2
"""So often must a look-up find nothing before a notice may be sent again."""
_BECOMES = {
    SettleOutcome.SENT: NoticeStatus.SENT,
    SettleOutcome.UNAVAILABLE: NoticeStatus.DUE,
    SettleOutcome.REFUSED: NoticeStatus.DEAD,
    SettleOutcome.UNKNOWN: NoticeStatus.UNKNOWN,
    SettleOutcome.NOT_FOUND: NoticeStatus.UNKNOWN,
}
_FROM_CLAIMED = frozenset({SettleOutcome.UNAVAILABLE, SettleOutcome.REFUSED})
_FROM_CHECKING = frozenset({SettleOutcome.SENT, SettleOutcome.UNKNOWN, SettleOutcome.NOT_FOUND})
_OPEN_TO_SETTLE = frozenset(
    {
        NoticeStatus.CLAIMED,
        NoticeStatus.SENDING,
        NoticeStatus.UNKNOWN,
        NoticeStatus.CHECKING,
    }
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """`reference` is what the other side called it; `detail` is for people."""

    outcome: SettleOutcome
    reference: str | None = None
    detail: str | None = None
    retry_at: datetime | None = None

    @property
    def why(self) -> str | None:
        return self.detail


def settled_fields(
    row: Row, fence: int, settlement: Settlement, now: datetime, check_after: timedelta
) -> Row | None:
    """The fields to set; None when exactly this is on record. ConflictError for a stale fence.

    UNKNOWN may be settled by the worker that holds the fence: its lease ran out while it was
    sending, and it knows better.
    """
    _check(settlement)
    outcome = settlement.outcome
    if row["fence"] != fence:
        raise ConflictError(f"the fence is stale: it is {row['fence']} by now", field="fence")
    if row["status"] == _BECOMES[outcome]:
        return None
    status = NoticeStatus(row["status"])
    _check_status(status, outcome)
    fields: Row = {"status": _BECOMES[outcome].value, "lease_until": None}
    if settlement.reference is not None:
        fields["external_reference"] = settlement.reference
    return fields | _fields_of(outcome, settlement.retry_at, row, now, check_after)


def _fields_of(
    outcome: SettleOutcome,
    retry_at: datetime | None,
    row: Row,
    now: datetime,
    check_after: timedelta,
) -> Row:
    """What goes with the new status. What certainly never left the house is not counted."""
    match outcome:
        case SettleOutcome.SENT:
            return {"sent_at": now}
        case SettleOutcome.UNAVAILABLE:
            return {"due_at": max(now, retry_at or now + RETRY_AFTER), "counted_at": None}
        case SettleOutcome.REFUSED:
            return {"counted_at": None}
        case SettleOutcome.NOT_FOUND:
            return _looked_in_vain(row, now, check_after)
    fields = unknown_fields(now, check_after, retry_at)
    if row["status"] == NoticeStatus.CHECKING:
        del fields["checks"]  # a look-up that failed says nothing about those before it
    return fields


def unknown_fields(now: datetime, check_after: timedelta, retry_at: datetime | None = None) -> Row:
    """The first look comes late enough for the other side to have finished what it began."""
    return {"check_at": max(now + check_after, retry_at or now), "checks": 0}


def _looked_in_vain(row: Row, now: datetime, check_after: timedelta) -> Row:
    checks = row.get("checks", 0) + 1
    if checks >= CHECKS_NEEDED:
        return {
            "status": NoticeStatus.DUE.value, "due_at": now, "counted_at": None, "checks": checks,
        }  # fmt: skip
    return {"check_at": now + check_after, "checks": checks}


def _check_status(status: NoticeStatus, outcome: SettleOutcome) -> None:
    if status not in _OPEN_TO_SETTLE:
        raise ConflictError(f"this notice is {status} and cannot be settled", field="id")
    if status is NoticeStatus.CLAIMED and outcome not in _FROM_CLAIMED:
        raise ConflictError("call beginSending before the first byte leaves", field="outcome")
    if status is NoticeStatus.CHECKING and outcome not in _FROM_CHECKING:
        raise ConflictError("a look-up ends in SENT, NOT_FOUND or UNKNOWN", field="outcome")
    if outcome is SettleOutcome.NOT_FOUND and status is not NoticeStatus.CHECKING:
        raise ConflictError("call claimCheck before looking it up", field="outcome")


def _check(settlement: Settlement) -> None:
    for field in ("reference", "detail"):
        if len(getattr(settlement, field) or "") > _LONGEST_TEXT:
            raise BadInputError(f"{field} is longer than {_LONGEST_TEXT} characters", field=field)
