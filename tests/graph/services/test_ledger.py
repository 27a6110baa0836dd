"""Nothing goes out without leave, twice, too often, or when it is no longer true."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from speedtrap_graph.errors import BadInputError, ConflictError, NotFoundError
from speedtrap_graph.rules.permission import (
    COOL_DOWN,
    DAY,
    PER_DAY,
    PER_WEEK,
    TOLD_IN_DIGEST,
    WEEK,
    Stage,
)
from speedtrap_graph.services.notices.channels import ChannelReport, Channels, ChannelState
from speedtrap_graph.services.notices.content import AttachmentDraft
from speedtrap_graph.services.notices.outcomes import Settlement, SettleOutcome
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import NoticeDocument

from tests.graph.services.post import DESK, GOOD, SENT, Post, a_draft, expire_lease
from tests.lab.line import Line

HOUR = timedelta(hours=1)


@pytest.fixture
async def post(store: Store) -> Post:
    line = Line(store)
    await line.buy()
    return Post(line)


async def test_planning_twice_plans_once_and_freezes_the_content(post: Post) -> None:
    breach = await post.slow()
    first, again = await asyncio.gather(
        post.ledger.draft(a_draft(breach), "one"), post.ledger.draft(a_draft(breach), "two")
    )
    later = await post.ledger.draft(replace(a_draft(breach), text="Other"), "one")
    assert first.id == again.id == later.id
    assert later.text == "Dear"
    assert later.digest == first.digest
    assert await NoticeDocument.count() == 1


async def test_the_digest_covers_everything_that_is_sent(post: Post) -> None:
    breach = await post.slow()
    changed = AttachmentDraft("chart.png", "image/png", "a chart", "eQ==")
    changes: list[dict[str, Any]] = [
        {},
        {"text": "X"},
        {"subject": "X"},
        {"html": "X"},
        {"attachments": [changed]},
    ]
    drafts = [
        replace(a_draft(breach), recipient=f"{number}@isp.example", **change)
        for number, change in enumerate(changes)
    ]
    digests = {(await post.ledger.draft(draft, "bot")).digest for draft in drafts}
    assert len(digests) == len(drafts)


async def test_nothing_is_due_without_leave(post: Post) -> None:
    await post.ledger.draft(a_draft(await post.slow()), "bot")
    assert await post.ledger.claim("mail", "worker") is None


async def test_leave_is_for_exactly_what_was_read(post: Post) -> None:
    notice = await post.ledger.draft(a_draft(await post.slow()), "bot")
    with pytest.raises(ConflictError, match="digest"):
        await post.ledger.approve(notice.id, "0" * 64, "operator")


async def test_a_notice_without_recipient_waits_and_names_the_setting(post: Post) -> None:
    breach = await post.slow()
    nobody = await post.ledger.draft(replace(a_draft(breach), recipient=""), "bot")
    with pytest.raises(ConflictError, match="SPEEDTRAP_BOTS_MAIL_TO"):
        await post.ledger.approve(nobody.id, nobody.digest, "operator")

    await post.ledger.draft(a_draft(breach), "bot")
    after = await NoticeDocument.get(nobody.id)
    assert after is not None
    assert after.status == "SUPPRESSED"


async def test_what_its_channel_could_not_send_cannot_be_approved(post: Post) -> None:
    """The server was taken out of the settings after the letter was planned."""
    notice = await post.ledger.draft(a_draft(await post.slow()), "bot")
    channels = Channels(post.line.store, post.line.clock)
    await channels.report(ChannelReport("mail", "a", ChannelState.UNCONFIGURED))
    for seconds in (0, 90):  # also once that bot has fallen silent
        post.line.clock.advance(seconds=seconds)
        with pytest.raises(ConflictError, match=r"cannot be sent.*_HOST") as refused:
            await post.ledger.approve(notice.id, notice.digest, "operator")
        assert refused.value.field == "channel"
    post.line.clock.advance(seconds=1)
    await channels.report(ChannelReport("mail", "b", ChannelState.READY, DESK))
    assert (await post.ledger.approve(notice.id, notice.digest, "operator")).status == "DUE"


async def test_every_step_is_on_record(post: Post) -> None:
    notice = await post.sent(await post.slow())
    assert notice.status == "SENT"
    assert notice.sent_at is not None
    assert notice.external_reference == "250 ok"
    steps = [(step.status, step.by) for step in notice.steps]
    assert steps == [
        ("PLANNED", "bot"),
        ("APPROVED", "operator"),
        ("DUE", "ledger"),
        ("CLAIMED", "worker"),
        ("SENDING", "bot"),
        ("SENT", "bot"),
    ]


async def test_of_many_workers_at_once_one_gets_the_notice(post: Post) -> None:
    await post.approved(await post.slow())
    claims = await asyncio.gather(*(post.ledger.claim("mail", f"w{n}") for n in range(6)))
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_an_expired_claim_is_claimed_again_and_the_first_fence_is_stale(post: Post) -> None:
    await post.approved(await post.slow())
    first = await post.claimed()
    await expire_lease(post.line.store)
    second = await post.claimed()
    assert second.notice.id == first.notice.id
    assert second.fence == first.fence + 1
    assert not await post.ledger.begin_sending(first.notice.id, first.fence, "bot")
    with pytest.raises(ConflictError, match="stale"):
        await post.ledger.settle(first.notice.id, first.fence, SENT, "bot")
    assert await post.ledger.begin_sending(second.notice.id, second.fence, "bot")


async def test_an_expired_sending_is_unknown_and_never_repeated(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    await expire_lease(post.line.store)
    assert await post.ledger.claim("mail", "other") is None
    notice = await NoticeDocument.get(claim.notice.id)
    assert notice is not None
    assert notice.status == "UNKNOWN"
    # The worker that was only slow knows better.
    settled = await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")
    assert settled.status == "SENT"


async def test_unavailable_is_due_again_at_its_time_and_refused_is_dead(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    retry_at = post.line.clock() + timedelta(minutes=30)
    later = Settlement(SettleOutcome.UNAVAILABLE, detail="busy", retry_at=retry_at)
    notice = await post.ledger.settle(claim.notice.id, claim.fence, later, "bot")
    assert (notice.status, notice.due_at) == ("DUE", retry_at)
    assert await post.ledger.claim("mail", "worker") is None

    post.line.clock.advance(minutes=31)
    claim = await post.claimed()
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    refused = Settlement(SettleOutcome.REFUSED, detail="no such mailbox")
    for _ in range(2):  # a repeated settlement changes nothing
        notice = await post.ledger.settle(claim.notice.id, claim.fence, refused, "bot")
    assert notice.status == "DEAD"
    assert [step.status for step in notice.steps].count("DEAD") == 1


async def test_sent_needs_begin_sending(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    with pytest.raises(ConflictError, match="beginSending"):
        await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")


async def test_a_retracted_breach_stops_its_notice_at_every_step(post: Post) -> None:
    breach = await post.slow()
    await post.approved(breach)
    claim = await post.claimed()
    await post.line.measure(GOOD, first_hour=2.5)
    assert not await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    notice = await NoticeDocument.get(claim.notice.id)
    assert notice is not None
    assert notice.status == "SUPPRESSED"
    planned = await post.ledger.draft(replace(a_draft(breach), channel="twitter"), "bot")
    assert planned.status == "SUPPRESSED"


async def test_an_opening_for_a_line_that_recovered_is_suppressed(post: Post) -> None:
    notice = await post.ledger.draft(a_draft(await post.slow()), "bot")
    await post.good()
    with pytest.raises(ConflictError, match="SUPPRESSED, not PLANNED"):
        await post.ledger.approve(notice.id, notice.digest, "operator")
    gone = await NoticeDocument.get(notice.id)
    assert gone is not None
    assert "recovered" in (gone.steps[-1].why or "")


async def test_a_recovery_within_the_limits_goes_out_and_counts(post: Post) -> None:
    breach = await post.slow()
    await post.sent(breach)
    post.line.clock.advance(hours=72)
    await post.good()
    recovery = await post.sent(breach, stage=Stage.RECOVERY)
    assert (recovery.stage, recovery.status) == ("RECOVERY", "SENT")
    sent_at = post.line.clock()
    assert (await post.approved(await post.slow())).due_at == sent_at + timedelta(hours=96)


@pytest.mark.parametrize("hours", [0.002, 23, 71.9])
async def test_a_recovery_that_would_exceed_the_limits_goes_into_the_digest(
    post: Post, hours: float
) -> None:
    breach = await post.slow()
    await post.sent(breach)
    post.line.clock.advance(hours=hours)
    await post.good()
    recovery = await post.approved(breach, stage=Stage.RECOVERY)
    assert (recovery.status, recovery.steps[-1].why) == ("SUPPRESSED", TOLD_IN_DIGEST)
    assert await post.ledger.claim("mail", "worker") is None
    assert await post.ledger.due_for_digest("mail", DESK) == []

    post.line.clock.advance(days=7)
    assert await post.ledger.claim("mail", "worker") is None, "nor any later"
    assert [due.id for due in await post.ledger.due_for_digest("mail", DESK)] == [breach.id]
    digest = await post.sent(breach, stage=Stage.DIGEST, covers=[breach.id])
    assert digest.status == "SENT"
    assert await post.ledger.due_for_digest("mail", DESK) == []
    told = {n.stage: n.digest_notice for n in await NoticeDocument.find_all().to_list()}
    assert told == {"OPENING": None, "RECOVERY": digest.id, "DIGEST": None}


async def test_where_a_channel_has_no_digest_a_recovery_waits_for_the_limits(post: Post) -> None:
    breach = await post.slow()
    await post.approved(breach, channel="twitter")
    claim = await post.claimed("twitter")
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    await post.ledger.settle(claim.notice.id, claim.fence, SENT, "bot")
    await post.good()
    recovery = await post.approved(breach, stage=Stage.RECOVERY, channel="twitter")
    assert (recovery.status, recovery.due_at) == (
        "APPROVED",
        post.line.clock() + timedelta(hours=72),
    )


async def test_what_goes_to_the_subscriber_is_not_limited(post: Post) -> None:
    post.owner_channels = frozenset({"mail"})
    breach = await post.slow()
    opening = await post.ledger.draft(a_draft(breach), "bot")
    claim = await post.claimed()
    assert await post.ledger.begin_sending(opening.id, claim.fence, "bot")
    await post.ledger.settle(opening.id, claim.fence, SENT, "bot")
    await post.good()
    assert (await post.ledger.draft(a_draft(breach, Stage.RECOVERY), "bot")).status == "DUE"


async def test_a_recovery_without_a_sent_opening_is_suppressed_and_ends_the_opening(
    post: Post,
) -> None:
    breach = await post.slow()
    opening = await post.ledger.draft(a_draft(breach), "bot")
    await post.good()
    recovery = await post.ledger.draft(a_draft(breach, Stage.RECOVERY), "bot")
    assert recovery.status == "SUPPRESSED"
    after = await NoticeDocument.get(opening.id)
    assert after is not None
    assert after.status == "SUPPRESSED"


async def test_a_second_opening_waits_72_hours_and_then_goes_out(post: Post) -> None:
    await post.sent(await post.slow())
    await post.good()
    second = await post.approved(await post.slow())
    assert second.status == "APPROVED"
    assert second.due_at == post.line.clock() + timedelta(hours=72)
    assert "cool-down" in (second.steps[-1].why or "")
    assert await post.ledger.claim("mail", "worker") is None

    post.line.clock.advance(hours=72)
    assert (await post.claimed()).notice.id == second.id


async def test_a_third_opening_waits_for_the_week_to_pass(post: Post) -> None:
    start = post.line.clock()
    for _ in range(2):
        await post.sent(await post.slow())
        await post.good()
        post.line.clock.advance(hours=73)
    third = await post.approved(await post.slow())
    assert third.status == "APPROVED"
    assert third.due_at == start + timedelta(days=7)


async def test_an_unknown_outcome_counts_and_a_refused_one_does_not(post: Post) -> None:
    breach = await post.slow()
    for channel, outcome in (("one", SettleOutcome.REFUSED), ("two", SettleOutcome.UNKNOWN)):
        approved = await post.approved(breach, channel=channel)
        assert approved.status == "DUE"
        claim = await post.claimed(channel)
        assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
        await post.ledger.settle(claim.notice.id, claim.fence, Settlement(outcome), "bot")
    assert (await post.approved(breach, channel="three")).status == "APPROVED"


async def test_two_openings_due_at_once_to_one_recipient_do_not_both_go_out(post: Post) -> None:
    breach = await post.slow()
    await asyncio.gather(
        post.approved(breach, channel="one"),
        post.approved(breach, channel="two", recipient=DESK.upper()),
    )
    claims = await asyncio.gather(post.ledger.claim("one", "a"), post.ledger.claim("two", "b"))
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_a_recovery_waits_for_an_opening_that_is_on_its_way(post: Post) -> None:
    breach = await post.slow()
    await post.approved(breach)
    opening = await post.claimed()
    assert await post.ledger.begin_sending(opening.notice.id, opening.fence, "bot")
    await post.good()
    recovery = await post.approved(breach, stage=Stage.RECOVERY)
    for _ in range(3):
        assert await post.ledger.claim("mail", "worker") is None
    waiting = await NoticeDocument.get(recovery.id)
    assert waiting is not None
    assert [step.status for step in waiting.steps] == ["PLANNED", "APPROVED", "APPROVED"]

    await post.ledger.settle(
        opening.notice.id, opening.fence, Settlement(SettleOutcome.UNAVAILABLE), "bot"
    )
    post.line.clock.advance(minutes=5)
    assert await post.ledger.claim("mail", "worker") is None
    after = await NoticeDocument.get(recovery.id)
    assert after is not None
    assert after.status == "SUPPRESSED", "the opening never left"
    post.line.clock.advance(days=8)
    assert await post.ledger.due_for_digest("mail", DESK) == []


async def test_a_notice_that_was_held_back_does_not_count(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    await post.good()
    assert not await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    assert (await post.approved(await post.slow())).status == "DUE"


async def test_a_silence_holds_notices_back(post: Post) -> None:
    breach = await post.slow()
    waiting = await post.approved(breach)
    until = post.line.clock() + timedelta(hours=1)
    await post.line.plans.silence("laptop", until, "works in the street", "operator")
    assert await post.ledger.claim("mail", "worker") is None
    notice = await NoticeDocument.get(waiting.id)
    assert notice is not None
    assert notice.status == "SILENCED"


async def test_auto_approve_is_for_the_named_channels_only(post: Post) -> None:
    post.auto_approve = frozenset({"mail"})
    breach = await post.slow()
    mail = await post.ledger.draft(a_draft(breach), "bot")
    tweet = await post.ledger.draft(replace(a_draft(breach), channel="twitter"), "bot")
    assert (mail.status, tweet.status) == ("DUE", "PLANNED")


async def test_a_rejected_notice_is_never_sent(post: Post) -> None:
    notice = await post.ledger.draft(a_draft(await post.slow()), "bot")
    rejected = await post.ledger.reject(notice.id, "not now", "operator")
    assert rejected.status == "REJECTED"
    with pytest.raises(ConflictError, match="REJECTED"):
        await post.ledger.approve(notice.id, notice.digest, "operator")


async def test_bad_drafts_are_refused_by_their_field(post: Post) -> None:
    breach = await post.slow()
    draft = a_draft(breach)
    file = AttachmentDraft("a.png", "image/png", None, "x")
    for changed, name in (
        (replace(draft, channel="Mail!"), "channel"),
        (replace(draft, text=" "), "text"),
        (replace(draft, subject="a\nBcc: x"), "subject"),
        (replace(draft, recipient="a\r\nb"), "recipient"),
        (replace(draft, attachments=[file]), "attachments[0].contentBase64"),
        (replace(draft, attachments=[replace(file, name="../a")]), "attachments[0].name"),
        (replace(draft, attachments=[replace(file, media_type="png")]), "attachments[0].mediaType"),
    ):
        with pytest.raises(BadInputError) as refused:
            await post.ledger.draft(changed, "bot")
        assert refused.value.field == name
    with pytest.raises(NotFoundError):
        await post.ledger.draft(replace(draft, breach="none"), "bot")


async def test_a_consumers_cursor_only_moves_on(post: Post) -> None:
    assert await post.ledger.event_cursor("mailbot") is None
    assert await post.ledger.save_event_cursor("mailbot", "7")
    assert not await post.ledger.save_event_cursor("mailbot", "5")
    assert await post.ledger.event_cursor("mailbot") == "7"


def test_the_guides_give_the_numbers_of_the_limits() -> None:
    root = Path(__file__).parents[3]
    guide = (root / "docs/bots.md").read_text(encoding="utf-8")
    found = re.search(r"At most (\d+) notice in (\d+) hours and (\d+) in (\d+) days", guide)
    assert found is not None
    assert [int(number) for number in found.groups()] == [PER_DAY, DAY / HOUR, PER_WEEK, WEEK / DAY]
    rest = re.search(r"(\d+) hours after each before the next", guide)
    assert rest is not None
    assert int(rest[1]) == COOL_DOWN / HOUR
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    said = f"{PER_DAY} notice a day and {PER_WEEK} a week of any kind, {int(rest[1])} hours apart"
    assert said in readme
