"""Which letter a breach still lacks."""

from datetime import timedelta

import pytest
from speedtrap_bots.delivery.missing_stage import MAY_HAVE_ARRIVED, missing_stage
from speedtrap_bots.model import BreachSummary, NoticeSummary, Stage

from tests.bots.builders import NOON, a_mark, a_notice_mark

ISP = "isp@example.net"


def missing(breach: BreachSummary, recipient: str = ISP, *, days_later: float = 0) -> Stage | None:
    return missing_stage(
        breach, channel="mail", recipient=recipient, now=NOON + timedelta(days=days_later)
    )


def test_an_open_breach_lacks_its_opening() -> None:
    assert missing(a_mark()) == Stage.OPENING


def test_an_opening_is_written_once() -> None:
    assert missing(a_mark("OPEN", a_notice_mark())) is None


@pytest.mark.parametrize("status", ["REJECTED", "DEAD", "UNKNOWN", "SUPPRESSED", "SENT"])
def test_an_opening_that_came_to_nothing_is_not_written_again(status: str) -> None:
    assert missing(a_mark("OPEN", a_notice_mark(status=status))) is None


def test_another_channels_opening_does_not_count() -> None:
    other = a_notice_mark().model_copy(update={"channel": "twitter"})
    assert missing(a_mark("OPEN", other)) == Stage.OPENING


def test_a_new_address_is_no_reason_for_a_second_opening() -> None:
    assert missing(a_mark("OPEN", a_notice_mark(recipient="old@example.net"))) is None


def test_without_a_configuration_one_letter_is_written_and_waits() -> None:
    assert missing(a_mark(), recipient="") == Stage.OPENING
    assert missing(a_mark("OPEN", a_notice_mark(recipient="")), recipient="") is None


def test_once_configured_the_letter_is_written_to_somebody() -> None:
    assert missing(a_mark("OPEN", a_notice_mark(recipient=""))) == Stage.OPENING


def test_a_stale_breach_is_never_announced() -> None:
    assert missing(a_mark("OPEN", stale=True)) is None
    assert missing(a_mark("RESOLVED", a_notice_mark(status="SENT"), stale=True)) is None


def test_a_breach_that_is_over_is_never_announced_as_open() -> None:
    assert missing(a_mark("RESOLVED")) is None


def test_a_retracted_breach_gets_no_letter() -> None:
    assert missing(a_mark("RETRACTED", a_notice_mark(status="SENT"))) is None


@pytest.mark.parametrize("status", sorted(MAY_HAVE_ARRIVED))
def test_a_recovery_follows_an_opening_that_may_have_arrived(status: str) -> None:
    assert missing(a_mark("RESOLVED", a_notice_mark(status=status))) == Stage.RECOVERY


@pytest.mark.parametrize("status", ["PLANNED", "APPROVED", "DUE", "REJECTED", "DEAD"])
def test_no_recovery_from_what_nobody_heard_of(status: str) -> None:
    assert missing(a_mark("RESOLVED", a_notice_mark(status=status))) is None


def test_a_recovery_is_written_once() -> None:
    told = (a_notice_mark(status="SENT"), a_notice_mark("RECOVERY"))
    assert missing(a_mark("RESOLVED", *told)) is None


def test_an_old_recovery_is_no_news() -> None:
    breach = a_mark("RESOLVED", a_notice_mark(status="SENT"))
    assert missing(breach, days_later=6.9) == Stage.RECOVERY
    assert missing(breach, days_later=7.1) is None


def still_slow(*notices: NoticeSummary, days_later: float) -> BreachSummary:
    """It was measured an hour before."""
    last_run_at = NOON + timedelta(days=days_later, hours=-1)
    return a_mark("OPEN", *notices, last_run_at=last_run_at)


def test_a_week_after_a_sent_opening_one_reminder_is_due() -> None:
    told = a_notice_mark(status="SENT", recipient=ISP).model_copy(update={"sent_at": NOON})
    assert missing(still_slow(told, days_later=6.9), days_later=6.9) is None
    assert missing(still_slow(told, days_later=7), days_later=7) == Stage.REMINDER
    reminded = a_notice_mark("REMINDER", recipient=ISP)
    assert missing(still_slow(told, reminded, days_later=20), days_later=20) is None
    assert missing(still_slow(told, days_later=8), "new@example.net", days_later=8) is None


def test_a_reminder_needs_a_run_of_the_last_day_that_shows_it() -> None:
    told = a_notice_mark(status="SENT", recipient=ISP).model_copy(update={"sent_at": NOON})
    for days, stage in ((7, Stage.REMINDER), (7.04, None), (20, None)):
        breach = a_mark("OPEN", told, last_run_at=NOON + timedelta(days=6))
        assert missing(breach, days_later=days) == stage


def test_a_channel_without_reminders_writes_none() -> None:
    told = a_notice_mark(status="SENT", recipient=ISP).model_copy(update={"sent_at": NOON})
    stage = missing_stage(
        still_slow(told, days_later=8),
        channel="mail",
        recipient=ISP,
        now=NOON + timedelta(days=8),
        stages={Stage.OPENING, Stage.RECOVERY},
    )
    assert stage is None
