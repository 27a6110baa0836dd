"""Which letter a breach still lacks. Pure: no I/O, time is an argument."""

from datetime import datetime, timedelta

from speedtrap_bots.model import BreachMark, NoticeMark, Stage

MAY_HAVE_ARRIVED = frozenset({"CLAIMED", "SENDING", "SENT", "UNKNOWN", "CHECKING"})
"""An opening in one of these may be in somebody's hands, so its recovery is owed to them."""

RECOVERY_IS_NEWS_FOR = timedelta(days=7)


def missing_stage(
    breach: BreachMark, *, channel: str, recipient: str, now: datetime
) -> Stage | None:
    """The letter to plan for *breach* in *channel*, None when there is nothing to say.

    A stale breach is never announced, one that is over is never announced as open, and a
    recovery only follows an opening that may have arrived.
    """
    if breach.stale:
        return None
    ours = [notice for notice in breach.notices if notice.channel == channel]
    if breach.status == "OPEN":
        return None if _written(ours, Stage.OPENING, recipient) else Stage.OPENING
    if breach.status != "RESOLVED" or breach.resolved_at is None:
        return None
    if now - breach.resolved_at > RECOVERY_IS_NEWS_FOR:
        return None
    announced = any(
        notice.stage == Stage.OPENING and notice.status in MAY_HAVE_ARRIVED for notice in ours
    )
    return Stage.RECOVERY if announced and not _written(ours, Stage.RECOVERY, recipient) else None


def _written(ours: list[NoticeMark], stage: Stage, recipient: str) -> bool:
    """Whether *stage* was written to anybody: a changed address is no reason for a second letter.

    One that was written while nobody was configured does not count once somebody is.
    """
    return any(
        notice.stage == stage and (notice.recipient != "" or recipient == "") for notice in ours
    )
