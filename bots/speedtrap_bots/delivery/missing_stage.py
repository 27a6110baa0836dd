"""Which letter a breach still lacks. Pure: no I/O, time is an argument."""

from collections.abc import Set
from datetime import datetime, timedelta

from speedtrap_bots.model import BreachSummary, NoticeSummary, Stage

MAY_HAVE_ARRIVED = frozenset({"CLAIMED", "SENDING", "SENT", "UNKNOWN", "CHECKING"})
"""An opening in one of these may be in somebody's hands, so its recovery is owed to them."""

REMIND_AFTER = timedelta(days=7)
"""A letter that was read is answered within a week; then one more is polite."""
SHOWN_WITHIN = timedelta(hours=24)
"""Nobody says that a line is still slow without a measurement of the last day that shows it."""
RECOVERY_IS_NEWS_FOR = timedelta(days=7)


def missing_stage(
    breach: BreachSummary,
    *,
    channel: str,
    recipient: str,
    now: datetime,
    stages: Set[Stage] = frozenset(Stage),
) -> Stage | None:
    """The letter to plan for *breach* in *channel*, None when there is nothing to say.

    A stale breach is never announced, one that is over is never announced as open, and a
    recovery only follows an opening that may have arrived.
    """
    if breach.stale:
        return None
    ours = [notice for notice in breach.notices if notice.channel == channel]
    if breach.status == "OPEN":
        if not _written(ours, Stage.OPENING, recipient):
            return Stage.OPENING
        shown = now - breach.last_run_at <= SHOWN_WITHIN
        late = Stage.REMINDER in stages and _is_time_to_remind(ours, recipient, now)
        return Stage.REMINDER if late and shown else None
    if breach.status != "RESOLVED" or breach.resolved_at is None:
        return None
    if now - breach.resolved_at > RECOVERY_IS_NEWS_FOR:
        return None
    announced = any(
        notice.stage == Stage.OPENING and notice.status in MAY_HAVE_ARRIVED for notice in ours
    )
    return Stage.RECOVERY if announced and not _written(ours, Stage.RECOVERY, recipient) else None


def _is_time_to_remind(ours: list[NoticeSummary], recipient: str, now: datetime) -> bool:
    """Whether the opening went to this recipient a week ago and nothing was written since."""
    if _written(ours, Stage.REMINDER, recipient):
        return False
    return any(
        notice.stage == Stage.OPENING
        and notice.status == "SENT"
        and notice.recipient == recipient
        and notice.sent_at is not None
        and now - notice.sent_at >= REMIND_AFTER
        for notice in ours
    )


def _written(ours: list[NoticeSummary], stage: Stage, recipient: str) -> bool:
    """Whether *stage* was written to anybody: a changed address is no reason for a second letter.

    One that was written while nobody was configured does not count once somebody is.
    """
    return any(
        notice.stage == stage and (notice.recipient != "" or recipient == "") for notice in ours
    )
