"""Whether a notice may go out now. Pure: the rules that protect the people at the other end.

How DESIGN §5's limits are applied:

- They count notices of every stage, by recipient (however the address is spelled), over all
  channels but the owner's.
- What goes to the subscriber (the owner's channels) has limits of its own, for each channel:
  10 in an hour and 30 in 24 hours. A line that fails and recovers all the time, or a probe key that
  invents it, does not make a telephone ring all night.
- A notice counts from the moment it is claimed for sending, unknown outcomes included; one that
  certainly never left the house (refused, unavailable) does not count.
- At most 1 in 24 hours, at most 2 in 7 days, and 72 hours after each before the next: the last to
  end wins. One that comes too early stays APPROVED with `due_at` at the end
  of the wait.
- A recovery that comes too early is told in the weekly digest instead; where a channel has none,
  it waits as the others do.
- An opening whose line recovered while it waited for that is told in the weekly digest.
- STOP is permanent and holds for every stage and channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PER_DAY = 1
PER_WEEK = 2
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
COOL_DOWN = timedelta(hours=72)
HOUR = timedelta(hours=1)
OWNER_PER_HOUR = 10
OWNER_PER_DAY = 30


@dataclass(frozen=True, slots=True)
class Limit:
    """So many notices to one recipient in a time, and how a person is told of it."""

    most: int
    span: timedelta
    why: str


LIMITS = (
    Limit(1, COOL_DOWN, "cool-down: 72 hours between two notices to one recipient"),
    Limit(PER_DAY, DAY, "limit: 1 notice a day to one recipient"),
    Limit(PER_WEEK, WEEK, "limit: 2 notices a week to one recipient"),
)
OWNER_LIMITS = (
    Limit(OWNER_PER_HOUR, HOUR, f"limit: {OWNER_PER_HOUR} notices an hour to the subscriber"),
    Limit(OWNER_PER_DAY, DAY, f"limit: {OWNER_PER_DAY} notices a day to the subscriber"),
)
"""For each of the owner's channels. Four rules that break and recover at once stay below both."""


class Stage(StrEnum):
    OPENING = "OPENING"
    REMINDER = "REMINDER"
    RECOVERY = "RECOVERY"
    DIGEST = "DIGEST"


class NoticeStatus(StrEnum):
    PLANNED = "PLANNED"
    APPROVED = "APPROVED"
    DUE = "DUE"
    CLAIMED = "CLAIMED"
    SENDING = "SENDING"
    SENT = "SENT"
    DEAD = "DEAD"
    UNKNOWN = "UNKNOWN"
    CHECKING = "CHECKING"
    REJECTED = "REJECTED"
    SUPPRESSED = "SUPPRESSED"
    SILENCED = "SILENCED"


WAITING = frozenset({NoticeStatus.PLANNED, NoticeStatus.APPROVED, NoticeStatus.DUE})
"""Nothing has left the house and nobody is at work on it."""
MAY_HAVE_ARRIVED = frozenset({NoticeStatus.SENT, NoticeStatus.UNKNOWN, NoticeStatus.CHECKING})
IN_FLIGHT = frozenset({NoticeStatus.CLAIMED, NoticeStatus.SENDING})
HELD_BACK = frozenset({NoticeStatus.SUPPRESSED, NoticeStatus.SILENCED})
RECOVERED_FIRST = "the line recovered before this was sent"
NOT_RECOVERED = "the line has not recovered after all"
TOLD_IN_DIGEST = "the limits hold this back: the weekly digest tells of it"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known about a notice that wants to go out.

    `breach_status` is recomputed from the stored runs. `to_owner`: it goes to the
    subscriber. `has_digest`: the channel has a weekly digest. `stopped_at` is when this recipient
    asked for no more. `opening` is the status of the same breach's OPENING to the same recipient by
    the same channel. `earlier` are the moments at which other notices went to this
    recipient, as far as they count against the same limits.
    """

    stage: Stage
    to_owner: bool
    has_digest: bool
    breach_status: str
    stopped_at: datetime | None
    silenced_until: datetime | None
    opening: NoticeStatus | None
    earlier: Sequence[datetime]
    now: datetime


@dataclass(frozen=True, slots=True)
class Permission:
    """The status that the notice gets, from when it is due, and why."""

    status: NoticeStatus
    due_at: datetime | None
    why: str | None


def permission(situation: Situation) -> Permission:
    """DUE when nothing stands in the way; APPROVED until a wait is over; or held back for good."""
    if obstacle := held_back(situation):
        return obstacle
    if situation.stage is Stage.RECOVERY and situation.opening in IN_FLIGHT:
        why = "waits until its opening notice has gone out"
        return Permission(NoticeStatus.APPROVED, situation.now, why)
    limits = OWNER_LIMITS if situation.to_owner else LIMITS
    wait = earliest_moment(situation.earlier, limits)
    if wait is not None and wait[0] > situation.now:
        has_digest = situation.has_digest and not situation.to_owner
        if situation.stage is Stage.RECOVERY and has_digest:
            return Permission(NoticeStatus.SUPPRESSED, None, TOLD_IN_DIGEST)
        return Permission(NoticeStatus.APPROVED, *wait)
    return Permission(NoticeStatus.DUE, situation.now, None)


def held_back(situation: Situation) -> Permission | None:
    """Why this notice must not go out at all, if so."""
    if situation.stopped_at is not None:
        stopped = f"this recipient asked for no more (STOP, {situation.stopped_at:%Y-%m-%d})"
        return Permission(NoticeStatus.SUPPRESSED, None, stopped)
    if why := _no_longer_true(situation):
        return Permission(NoticeStatus.SUPPRESSED, None, why)
    if situation.silenced_until is not None and situation.silenced_until > situation.now:
        why = f"silenced until {situation.silenced_until:%Y-%m-%d %H:%M} UTC"
        return Permission(NoticeStatus.SILENCED, None, why)
    return None


def earliest_moment(
    earlier: Sequence[datetime], limits: Sequence[Limit]
) -> tuple[datetime, str] | None:
    """From when the recipient may be written to again, and the limit that says so."""
    past = sorted(earlier, reverse=True)
    waits = [
        (past[limit.most - 1] + limit.span, limit.why)
        for limit in limits
        if len(past) >= limit.most
    ]
    return max(waits, default=None, key=lambda wait: wait[0])


def _no_longer_true(situation: Situation) -> str | None:
    stage, status = situation.stage, situation.breach_status
    if status == "RETRACTED":
        return "the breach does not stand: the stored runs do not bear it out"
    if stage in {Stage.RECOVERY, Stage.DIGEST} and status == "OPEN":
        return NOT_RECOVERED
    if stage is Stage.DIGEST:
        return None
    if stage is not Stage.RECOVERY and status == "RESOLVED":
        return RECOVERED_FIRST
    if stage is Stage.OPENING or situation.opening in MAY_HAVE_ARRIVED | IN_FLIGHT:
        return None
    return "its opening notice was not sent, so there is nothing to come back to"
