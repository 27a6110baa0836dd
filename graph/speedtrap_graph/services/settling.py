"""What a worker's word about a sending makes of the notice. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from speedtrap_graph.services.errors import BadInputError, ConflictError
from speedtrap_graph.services.leave import NoticeStatus
from speedtrap_graph.store.database import Row

RETRY_AFTER = timedelta(minutes=5)
_LONGEST_TEXT = 1000


class SettleOutcome(StrEnum):
    SENT = "SENT"
    UNAVAILABLE = "UNAVAILABLE"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"


_BECOMES = {
    SettleOutcome.SENT: NoticeStatus.SENT,
    SettleOutcome.UNAVAILABLE: NoticeStatus.DUE,
    SettleOutcome.REFUSED: NoticeStatus.DEAD,
    SettleOutcome.UNKNOWN: NoticeStatus.UNKNOWN,
}
_FROM_CLAIMED = frozenset({SettleOutcome.UNAVAILABLE, SettleOutcome.REFUSED})
_OPEN_TO_SETTLE = frozenset({NoticeStatus.CLAIMED, NoticeStatus.SENDING, NoticeStatus.UNKNOWN})


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


def settled_fields(row: Row, fence: int, settlement: Settlement, now: datetime) -> Row | None:
    """The fields to set; None when exactly this is on record. ConflictError for a stale fence.

    UNKNOWN may be settled by the worker that holds the fence: its lease ran out while it was
    sending, and it knows better.
    """
    _check(settlement)
    target = _BECOMES[settlement.outcome]
    if row["fence"] != fence:
        raise ConflictError(f"the fence is stale: it is {row['fence']} by now", field="fence")
    if row["status"] == target:
        return None
    _check_status(NoticeStatus(row["status"]), settlement.outcome)
    fields: Row = {"status": target.value, "lease_until": None}
    if settlement.reference is not None:
        fields["external_reference"] = settlement.reference
    if settlement.outcome is SettleOutcome.SENT:
        fields["sent_at"] = now
    if settlement.outcome is SettleOutcome.UNAVAILABLE:
        fields["due_at"] = max(now, settlement.retry_at or now + RETRY_AFTER)
    if settlement.outcome in _FROM_CLAIMED:
        # Nothing left the house: it does not count against the recipient's limits.
        fields["counted_at"] = None
    return fields


def _check_status(status: NoticeStatus, outcome: SettleOutcome) -> None:
    if status not in _OPEN_TO_SETTLE:
        raise ConflictError(f"this notice is {status} and cannot be settled", field="id")
    if status is NoticeStatus.CLAIMED and outcome not in _FROM_CLAIMED:
        raise ConflictError("call beginSending before the first byte leaves", field="outcome")


def _check(settlement: Settlement) -> None:
    for field in ("reference", "detail"):
        if len(getattr(settlement, field) or "") > _LONGEST_TEXT:
            raise BadInputError(f"{field} is longer than {_LONGEST_TEXT} characters", field=field)
