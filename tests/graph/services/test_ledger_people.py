"""What people decide, what is looked up, what the limits hold back, and what must never go out."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from speedtrap_graph.errors import BadInputError, ConflictError
from speedtrap_graph.rules.permission import (
    OWNER_LIMITS,
    OWNER_PER_DAY,
    OWNER_PER_HOUR,
    RECOVERED_FIRST,
    Stage,
    earliest_moment,
)
from speedtrap_graph.services.notices.ledger import Claim
from speedtrap_graph.services.notices.outcomes import Settlement, SettleOutcome
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument

from tests.graph.services.post import DESK, GOOD, SENT, Post, a_draft, expire_lease
from tests.lab.line import Line

UNKNOWN = Settlement(SettleOutcome.UNKNOWN, detail="cut after the dot")
NOT_FOUND = Settlement(SettleOutcome.NOT_FOUND, detail="looked, and it is not there")


@pytest.fixture
async def post(store: Store) -> Post:
    line = Line(store)
    await line.buy()
    return Post(line)


async def begun(post: Post) -> Claim:
    await post.approved(await post.slow())
    claim = await post.claimed()
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    return claim


async def status_of(key: str) -> str:
    found = await NoticeDocument.get(key)
    assert found is not None
    return found.status


async def test_what_is_unknown_is_looked_up_twice_before_it_is_due_again(post: Post) -> None:
    claim = await begun(post)
    await post.ledger.settle(claim.notice.id, claim.fence, UNKNOWN, "bot")
    for expected in ("UNKNOWN", "DUE"):
        assert await post.ledger.claim_check("mail", "worker") is None, "not before a minute"
        post.line.clock.advance(seconds=61)
        check = await post.ledger.claim_check("mail", "worker")
        assert check is not None
        assert check.notice.status == "CHECKING"
        notice = await post.ledger.settle(check.notice.id, check.fence, NOT_FOUND, "bot")
        assert notice.status == expected
    assert [step.status for step in notice.steps][-5:] == [
        "UNKNOWN", "CHECKING", "UNKNOWN", "CHECKING", "DUE",
    ]  # fmt: skip
    assert (await post.claimed()).notice.id == notice.id


async def test_what_is_found_is_sent(post: Post) -> None:
    claim = await begun(post)
    await post.ledger.settle(claim.notice.id, claim.fence, UNKNOWN, "bot")
    post.line.clock.advance(seconds=61)
    check = await post.ledger.claim_check("mail", "worker")
    assert check is not None
    notice = await post.ledger.settle(check.notice.id, check.fence, SENT, "bot")
    assert (notice.status, notice.external_reference) == ("SENT", "250 ok")
    with pytest.raises(ConflictError, match="stale"):  # the worker that slept all the while
        await post.ledger.settle(claim.notice.id, claim.fence, UNKNOWN, "bot")


async def test_a_look_up_that_failed_is_no_answer(post: Post) -> None:
    claim = await begun(post)
    await post.ledger.settle(claim.notice.id, claim.fence, UNKNOWN, "bot")
    for outcome in (NOT_FOUND, UNKNOWN, NOT_FOUND):
        post.line.clock.advance(seconds=61)
        check = await post.ledger.claim_check("mail", "worker")
        assert check is not None
        notice = await post.ledger.settle(check.notice.id, check.fence, outcome, "bot")
    assert notice.status == "DUE"


async def test_a_checker_that_died_is_followed_by_another(post: Post) -> None:
    claim = await begun(post)
    await expire_lease(post.line.store)
    assert await post.ledger.claim("mail", "other") is None
    post.line.clock.advance(seconds=61)
    first = await post.ledger.claim_check("mail", "one")
    assert first is not None
    assert await post.ledger.claim_check("mail", "two") is None
    await expire_lease(post.line.store)
    second = await post.ledger.claim_check("mail", "two")
    assert second is not None
    assert second.notice.id == first.notice.id == claim.notice.id
    with pytest.raises(ConflictError, match="stale"):
        await post.ledger.settle(first.notice.id, first.fence, NOT_FOUND, "bot")


async def test_a_worker_that_died_is_looked_after_though_nobody_claims(post: Post) -> None:
    """In quiet hours a channel looks up and claims nothing."""
    claim = await begun(post)
    await expire_lease(post.line.store)
    assert await post.ledger.claim_check("mail", "other") is None
    assert await status_of(claim.notice.id) == "UNKNOWN"
    post.line.clock.advance(seconds=61)
    assert await post.ledger.claim_check("mail", "other") is not None


async def test_not_found_needs_a_look(post: Post) -> None:
    claim = await begun(post)
    with pytest.raises(ConflictError, match="claimCheck"):
        await post.ledger.settle(claim.notice.id, claim.fence, NOT_FOUND, "bot")


@pytest.mark.parametrize(("arrived", "status"), [(True, "SENT"), (False, "DUE")])
async def test_a_person_resolves_what_is_unknown(post: Post, arrived: bool, status: str) -> None:
    claim = await begun(post)
    await post.ledger.settle(claim.notice.id, claim.fence, UNKNOWN, "bot")
    notice = await post.ledger.resolve(claim.notice.id, arrived, "they told us", "operator")
    assert notice.status == status
    assert any(s.by == "operator" and s.why == "they told us" for s in notice.steps)
    with pytest.raises(ConflictError, match="stale"):
        await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")
    with pytest.raises(ConflictError, match="not UNKNOWN"):
        await post.ledger.resolve(claim.notice.id, arrived, "again", "operator")


async def test_a_bounce_is_recorded_and_a_sent_letter_is_dead(post: Post) -> None:
    notice = await post.sent(await post.slow())
    bounced = await post.ledger.record_bounce(notice.id, "550 no such user", "operator")
    assert bounced.status == "DEAD"
    assert bounced.steps[-1].why == "bounced: 550 no such user"


async def test_stop_is_permanent_and_takes_out_what_waits(post: Post) -> None:
    breach = await post.slow()
    waiting = await post.approved(breach)
    for _ in range(2):
        stop = await post.ledger.stop(f" {DESK.upper()}", "answered STOP", "operator")
    assert (stop.by, stop.reason) == ("operator", "answered STOP")
    assert await status_of(waiting.id) == "SUPPRESSED"
    await post.good()
    later = await post.ledger.draft(a_draft(await post.slow()), "bot")
    assert later.status == "SUPPRESSED"
    assert "STOP" in (later.steps[-1].why or "")
    assert [found.recipient for found in await post.ledger.stops()] == [DESK.upper()]


async def test_stop_between_claim_and_first_byte_still_counts(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    await post.ledger.stop(DESK, "on the phone", "operator")
    assert not await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    assert await status_of(claim.notice.id) == "SUPPRESSED"


async def test_stop_also_keeps_a_recovery_back(post: Post) -> None:
    breach = await post.slow()
    await post.sent(breach)
    await post.ledger.stop(DESK, "answered STOP", "operator")
    await post.good()
    recovery = await post.ledger.draft(a_draft(breach, Stage.RECOVERY), "bot")
    assert recovery.status == "SUPPRESSED"


async def test_the_switch_holds_everything_and_forgets_nothing(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    await post.ledger.set_sending(False, "holidays", "operator")
    assert not await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    assert await post.ledger.claim("mail", "worker") is None
    notice = await NoticeDocument.get(claim.notice.id)
    assert notice is not None
    assert (notice.status, notice.counted_at) == ("DUE", None)
    assert "holidays" in (notice.steps[-1].why or "")
    await post.ledger.set_sending(True, "back", "operator")
    assert (await post.claimed()).notice.id == claim.notice.id


async def test_a_forged_breach_sends_nothing(post: Post) -> None:
    """Somebody who can write into the database makes a breach that no run bears out."""
    real = await post.slow()
    row = await post.line.store["breaches"].find_one({"_id": real.id})
    assert row is not None
    forged = {
        **row, "_id": "forged", "reference": "ST-FORGED", "first_run": uuid4(),
        "first_run_at": row["first_run_at"] + timedelta(minutes=7),
    }  # fmt: skip
    await post.line.store["breaches"].insert_one(forged)
    notice = await post.ledger.draft(a_draft(BreachDocument.model_validate(forged)), "bot")
    assert notice.status == "SUPPRESSED"
    assert "do not bear it out" in (notice.steps[-1].why or "")


async def test_runs_deleted_behind_the_back_stop_the_notice_at_the_claim(post: Post) -> None:
    waiting = await post.approved(await post.slow())
    assert waiting.status == "DUE"
    await post.line.store["runs"].delete_many({})
    assert await post.ledger.claim("mail", "worker") is None
    assert await status_of(waiting.id) == "SUPPRESSED"


async def test_what_waits_for_its_turn_becomes_due_before_it_is_claimed(post: Post) -> None:
    await post.sent(await post.slow())
    await post.good()
    second = await post.approved(await post.slow())
    post.line.clock.advance(hours=72)
    claim = await post.claimed()
    assert claim.notice.id == second.id
    assert [step.status for step in claim.notice.steps] == [
        "PLANNED", "APPROVED", "APPROVED", "DUE", "CLAIMED",
    ]  # fmt: skip


async def held_back_and_over(post: Post) -> BreachDocument:
    """A breach whose opening the limits kept waiting until the line had recovered."""
    await post.sent(await post.slow())
    await post.good()
    breach = await post.slow()
    waiting = await post.approved(breach)
    await post.good()
    post.line.clock.advance(hours=73)
    assert await post.ledger.claim("mail", "worker") is None
    assert await status_of(waiting.id) == "SUPPRESSED"
    return breach


async def test_what_the_limits_held_back_goes_into_one_weekly_digest(post: Post) -> None:
    breach = await held_back_and_over(post)
    assert await post.ledger.due_for_digest("mail", DESK) == []
    post.line.clock.advance(days=7)
    assert [due.id for due in await post.ledger.due_for_digest("mail", DESK)] == [breach.id]
    assert await post.ledger.due_for_digest("mail", "other@isp.example") == []

    digest = await post.approved(breach, stage=Stage.DIGEST, covers=[breach.id])
    assert digest.status == "DUE"
    assert await post.ledger.due_for_digest("mail", DESK) == []
    other = await post.ledger.draft(a_draft((await post.line.breaches())[0], Stage.DIGEST), "bot")
    assert other.id == digest.id, "one a week"


async def test_a_digest_of_a_breach_that_does_not_stand_is_not_sent(post: Post) -> None:
    breach = await held_back_and_over(post)
    post.line.clock.advance(days=7)
    first = (await post.line.breaches())[0]
    digest = await post.approved(first, stage=Stage.DIGEST, covers=[first.id, breach.id])
    assert digest.status == "DUE"
    await post.line.measure(GOOD, first_hour=9.5)
    assert await post.ledger.claim("mail", "worker") is None
    assert await status_of(digest.id) == "SUPPRESSED"


async def test_a_digest_counts_as_any_letter(post: Post) -> None:
    breach = await held_back_and_over(post)
    post.line.clock.advance(days=7)
    await post.sent(breach, stage=Stage.DIGEST, covers=[breach.id])
    assert (await post.approved(await post.slow())).status == "APPROVED"


async def test_a_reminder_follows_a_sent_opening_only_while_the_line_is_down(post: Post) -> None:
    breach = await post.slow()
    unsent = await post.ledger.draft(a_draft(breach, Stage.REMINDER), "bot")
    assert unsent.status == "SUPPRESSED"
    await post.good()
    breach = await post.slow()
    await post.sent(breach)
    post.line.clock.advance(days=7)
    reminder = await post.approved(breach, stage=Stage.REMINDER)
    assert reminder.status == "DUE"
    await post.good()
    assert await post.ledger.claim("mail", "worker") is None
    assert await status_of(reminder.id) == "SUPPRESSED"


async def told(post: Post, channel: str = "apprise") -> str:
    """Of one more breach, which then ends; the status that its opening to the subscriber had."""
    breach = await post.slow()
    draft = a_draft(breach, channel=channel, recipient="subscriber")
    notice = await post.ledger.draft(draft, "bot")
    if notice.status == "DUE":
        claim = await post.claimed(channel)
        assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
        await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")
    await post.good()
    return notice.status


async def test_the_subscriber_is_told_at_once_but_not_all_night(post: Post) -> None:
    """A probe's key can invent a line that breaks and recovers thirty times a minute."""
    post.owner_channels = frozenset({"apprise", "webhook"})
    post.line.clock.advance(days=30)
    statuses = [await told(post) for _ in range(OWNER_PER_HOUR + 1)]
    assert statuses == ["DUE"] * OWNER_PER_HOUR + ["APPROVED"]
    held = await NoticeDocument.find({"status": "SUPPRESSED"}).to_list()
    assert [one.steps[-1].why for one in held] == [RECOVERED_FIRST]
    assert await told(post, "webhook") == "DUE", "each channel has its own limit"

    post.line.clock.advance(hours=1)
    assert await told(post) == "DUE"


def test_the_subscriber_is_told_thirty_times_a_day_at_most() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    earlier = [start + timedelta(minutes=7 * n) for n in range(OWNER_PER_DAY)]
    wait = earliest_moment(earlier, OWNER_LIMITS)
    assert wait is not None
    assert wait[0] == start + timedelta(days=1)
    wait = earliest_moment(earlier[: OWNER_PER_DAY - 1], OWNER_LIMITS)
    assert wait is not None
    assert wait[0] < earlier[OWNER_PER_DAY - 1]


async def test_what_the_subscriber_was_told_does_not_hold_back_the_letter(post: Post) -> None:
    post.owner_channels = frozenset({"apprise"})
    breach = await post.slow()
    await post.ledger.draft(a_draft(breach, channel="apprise", recipient=DESK), "bot")
    claim = await post.claimed("apprise")
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")
    assert (await post.approved(breach)).status == "DUE"


async def test_only_a_configured_subscriber_is_written_to(post: Post) -> None:
    post.owner_channels = frozenset({"apprise"})
    nobody = await post.ledger.draft(
        a_draft(await post.slow(), channel="apprise", recipient=""), ""
    )
    assert nobody.status == "PLANNED"


@pytest.mark.parametrize(
    "spelled",
    ["SUPPORT@isp.example", "Help <support@ISP.example>", "support+1@isp.example.",
     "mailto:support@isp.example", '"support"@isp.example', "\uff53upport@isp.example"],
)  # fmt: skip
async def test_stop_and_the_limits_hold_however_the_address_is_spelled(
    post: Post, spelled: str
) -> None:
    await post.sent(await post.slow())
    await post.good()
    second = await post.approved(await post.slow(), recipient=spelled)
    assert second.status == "APPROVED"
    assert "cool-down" in (second.steps[-1].why or "")
    await post.ledger.stop(spelled, "answered STOP", "operator")
    assert await status_of(second.id) == "SUPPRESSED"
    third = await post.ledger.draft(a_draft(await post.slow()), "bot")
    assert third.status == "SUPPRESSED"


async def test_a_decision_needs_a_reason(post: Post) -> None:
    claim = await begun(post)
    for decision in (
        post.ledger.resolve(claim.notice.id, True, " ", "operator"),
        post.ledger.record_bounce(claim.notice.id, "", "operator"),
        post.ledger.stop(DESK, "", "operator"),
        post.ledger.set_sending(False, "x" * 1001, "operator"),
        post.ledger.reject(claim.notice.id, "", "operator"),
    ):
        with pytest.raises(BadInputError, match="the reason must have 1 to 1000 characters"):
            await decision
