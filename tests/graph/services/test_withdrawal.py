"""What becomes of notices when the breach that they tell of is not what it was."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from speedtrap_graph.errors import ConflictError
from speedtrap_graph.rules.model import Rule
from speedtrap_graph.rules.permission import NOT_RECOVERED, RECOVERED_FIRST, WAITING, Stage
from speedtrap_graph.services.intake.delete_run import Deletion
from speedtrap_graph.services.notices.ledger import Claim
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument

from tests.graph.services.post import DESK, GOOD, SENT, SLOW, Post, a_draft
from tests.lab.line import Line


@pytest.fixture
async def post(store: Store) -> Post:
    """Two good runs in a row end a breach here."""
    line = Line(store)
    await line.buy()
    await line.plans.set_rule(None, Rule(below_ratio=0.5, recovered_after=2))
    return Post(line)


async def recovered(post: Post) -> BreachDocument:
    """The breach has ended with the good runs of hours 6 and 8."""
    await post.line.measure(GOOD, first_hour=6)
    await post.line.measure(GOOD, first_hour=8)
    (breach,) = await post.line.breaches()
    assert breach.status == "RESOLVED"
    return breach


async def a_late_slow_run(post: Post) -> BreachDocument:
    """Between the two good ones: so there was no recovery."""
    await post.line.measure(SLOW, first_hour=7)
    (breach,) = await post.line.breaches()
    assert breach.status == "OPEN"
    return breach


async def a_late_good_pair(post: Post) -> None:
    """In the middle of the six slow ones: so there was no breach."""
    await post.line.measure(GOOD, first_hour=2.3)
    await post.line.measure(GOOD, first_hour=2.6)
    assert await post.line.breaches() == []


async def a_run_is_deleted(post: Post) -> None:
    """One of the six; five are no breach."""
    row = await post.line.store["runs"].find_one({})
    assert row is not None
    deletion = Deletion(post.line.store, post.line.clock)
    await deletion.delete(row["_id"], "measured on another line", "operator")


async def the_plan_was_smaller(post: Post) -> None:
    """Of 200 Mbps, 120 are above half."""
    await post.line.buy(200)


async def the_rule_is_milder(post: Post) -> None:
    await post.line.plans.set_rule(None, Rule(below_ratio=0.1, recovered_after=2))


async def the_rule_asks_for_more(post: Post) -> None:
    await post.line.plans.set_rule(None, Rule(below_ratio=0.5, more_than=6, recovered_after=2))


WAYS = {
    "planned": "a@isp.example",
    "due": "b@isp.example",
    "claimed": "c@isp.example",
    "sending": "d@isp.example",
    "mail": DESK,
    "approved": DESK,
}
"""Each channel's notice has got as far as the channel is called; the one by mail is sent, so that
its recipient's rest keeps the approved one waiting."""


async def notices_of_every_state(post: Post) -> dict[str, Claim]:
    """Openings about the same breach; the claims on those that are under way."""
    breach = await post.slow()
    await post.sent(breach)
    for way, recipient in WAYS.items():
        draft = a_draft(breach, channel=way, recipient=recipient)
        notice = await post.ledger.draft(draft, "bot")
        if way not in {"planned", "mail"}:
            await post.ledger.approve(notice.id, notice.digest, "operator")
    claims = {way: await post.claimed(way) for way in ("claimed", "sending")}
    sending = claims["sending"]
    assert await post.ledger.begin_sending(sending.notice.id, sending.fence, "bot")
    assert await states() == {**{way: way.upper() for way in WAYS}, "mail": "SENT"}
    return claims


async def states() -> dict[str, str]:
    return {notice.channel: notice.status for notice in await NoticeDocument.find_all().to_list()}


async def read_again(notice: NoticeDocument) -> NoticeDocument:
    found = await NoticeDocument.get(notice.id)
    assert found is not None
    return found


async def test_an_opening_that_a_seeming_recovery_held_back_comes_back_with_the_breach(
    post: Post,
) -> None:
    breach = await post.slow()
    notice = await post.approved(breach)
    unread = await post.ledger.draft(a_draft(breach, channel="twitter"), "bot")
    await recovered(post)
    for held in (await read_again(notice), await read_again(unread)):
        assert (held.status, held.steps[-1].why) == ("SUPPRESSED", RECOVERED_FIRST)
    await a_late_slow_run(post)
    back = await read_again(notice)
    assert (back.status, back.steps[-1].why) == ("APPROVED", "the line has not recovered")
    assert (await read_again(unread)).status == "PLANNED", "it had no leave before"
    claim = await post.ledger.claim("mail", "worker")
    assert claim is not None
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")


async def test_a_recovery_that_was_none_is_withdrawn_and_comes_back_with_the_real_one(
    post: Post,
) -> None:
    await post.sent(await post.slow())
    recovery = await post.ledger.draft(a_draft(await recovered(post), Stage.RECOVERY), "bot")
    await a_late_slow_run(post)
    gone = await read_again(recovery)
    assert (gone.status, gone.steps[-1].why) == ("SUPPRESSED", NOT_RECOVERED)
    await post.line.measure(GOOD, GOOD, first_hour=9)
    back = await read_again(recovery)
    assert (back.status, back.steps[-1].why) == ("PLANNED", "the line has recovered")


async def test_a_recovery_that_was_sent_too_early_is_contradicted(post: Post) -> None:
    opening = await post.sent(await post.slow())
    post.line.clock.advance(hours=72)
    recovery = await post.sent(await recovered(post), stage=Stage.RECOVERY)
    assert recovery.status == "SENT"
    await a_late_slow_run(post)
    told = await read_again(recovery)
    assert (told.status, told.contradicted_why) == ("SENT", NOT_RECOVERED)
    assert (await read_again(opening)).contradicted_at is None


async def test_a_digest_that_told_of_a_breach_which_falls_is_contradicted(post: Post) -> None:
    await post.slow()
    breach = await recovered(post)
    digest = await post.sent(breach, stage=Stage.DIGEST, covers=[breach.id])
    await a_late_good_pair(post)
    told = await read_again(digest)
    assert told.status == "SENT"
    assert "came late" in (told.contradicted_why or "")


async def test_a_digest_whose_episode_is_not_over_after_all_waits_until_it_is(post: Post) -> None:
    await post.approved(await post.slow())
    breach = await recovered(post)
    digest = await post.approved(breach, stage=Stage.DIGEST, covers=[breach.id])
    assert await told_in(breach) == digest.id
    await a_late_slow_run(post)
    gone = await read_again(digest)
    assert (gone.status, gone.steps[-1].why) == ("SUPPRESSED", NOT_RECOVERED)
    assert await told_in(breach) is None, "another digest may tell of it"
    await post.line.measure(GOOD, GOOD, first_hour=9)
    back = await read_again(digest)
    assert (back.status, back.steps[-1].why) == ("APPROVED", "the line has recovered")
    assert await told_in(breach) == digest.id
    assert (await post.claimed()).notice.id == digest.id


async def told_in(breach: BreachDocument) -> str | None:
    """The digest that tells of *breach* in place of its opening."""
    found = await NoticeDocument.find({"breach": breach.id, "stage": "OPENING"}).to_list()
    [opening] = found
    return opening.digest_notice


async def test_what_a_worker_is_sending_when_the_breach_falls_is_marked_and_can_be_settled(
    post: Post,
) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    await a_late_good_pair(post)
    told = await read_again(claim.notice)
    assert (told.status, told.contradicted_at) == ("SENDING", post.line.clock())


async def test_a_claim_on_a_letter_whose_breach_falls_cannot_begin(post: Post) -> None:
    await post.approved(await post.slow())
    claim = await post.claimed()
    await a_late_good_pair(post)
    assert not await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")
    assert (await read_again(claim.notice)).status == "SUPPRESSED"


TAKEN_BACK = [
    a_late_good_pair,
    a_run_is_deleted,
    the_plan_was_smaller,
    the_rule_is_milder,
    the_rule_asks_for_more,
]


@pytest.mark.parametrize("take_back", TAKEN_BACK)
async def test_whatever_takes_a_breach_back_takes_every_letter_that_waits(
    post: Post, take_back: Callable[[Post], Awaitable[None]]
) -> None:
    claims = await notices_of_every_state(post)
    await take_back(post)
    assert await post.line.breaches() == []
    gone = await states()
    assert {gone[way] for way in ("planned", "approved", "due")} == {"SUPPRESSED"}
    claimed = claims["claimed"]
    assert not await post.ledger.begin_sending(claimed.notice.id, claimed.fence, "bot")
    assert (await states())["claimed"] == "SUPPRESSED"
    for notice in await NoticeDocument.find_all().to_list():
        may_be_read = notice.channel in {"mail", "sending"}
        assert (notice.contradicted_at is not None) == may_be_read
        assert "does not stand" in (notice.contradicted_why or notice.steps[-1].why or "")
        post.line.clock.advance(days=4)
        assert await post.ledger.claim(notice.channel, "worker") is None
    sending = claims["sending"]
    await post.ledger.settle(sending.notice.id, sending.fence, SENT, "bot")


async def test_a_breach_that_resolves_before_approval_is_never_announced_as_open(
    post: Post,
) -> None:
    """Nor after it, as long as no byte has left."""
    claims = await notices_of_every_state(post)
    await recovered(post)
    gone = await states()
    assert {gone[way] for way in ("planned", "approved", "due")} == {"SUPPRESSED"}
    claimed = claims["claimed"]
    assert not await post.ledger.begin_sending(claimed.notice.id, claimed.fence, "bot")
    for notice in await NoticeDocument.find_all().to_list():
        assert notice.contradicted_at is None, "what was sent was true"
        if notice.channel not in {"mail", "sending"}:
            assert (notice.status, notice.steps[-1].why) == ("SUPPRESSED", RECOVERED_FIRST)
    post.line.clock.advance(days=4)
    assert [await post.ledger.claim(way, "worker") for way in WAYS] == [None] * len(WAYS)


async def test_a_rule_by_which_the_line_has_recovered_withdraws_what_it_said_it_would(
    post: Post,
) -> None:
    await notices_of_every_state(post)
    await post.good()
    milder = Rule(below_ratio=0.5, recovered_after=1)
    preview = await post.line.plans.preview(None, (None, milder), None)
    [change] = preview.changes
    assert {notice.channel for notice in change.withdrawn} == {"planned", "due", "approved"}
    assert change.contradicted == []
    await post.line.plans.set_rule(None, milder)
    gone = {way for way, status in (await states()).items() if status == "SUPPRESSED"}
    assert gone == {notice.channel for notice in change.withdrawn}


async def test_planning_and_taking_back_at_once_leave_nothing_that_waits(post: Post) -> None:
    for _ in range(6):
        breach = await post.slow()
        middle = post.hour - 3.5
        ways = ("mail", "webhook", "twitter")

        async def write(breach: BreachDocument = breach, ways: tuple[str, ...] = ways) -> None:
            for channel in ways:
                draft = a_draft(breach, channel=channel)
                notice = await post.ledger.draft(draft, "bot")
                if notice.status == "PLANNED":
                    try:
                        await post.ledger.approve(notice.id, notice.digest, "operator")
                    except ConflictError:
                        continue

        good = [post.line.measure(GOOD, first_hour=middle + part) for part in (0.0, 0.1)]
        await asyncio.gather(write(), *good)
        assert await post.line.breaches() == []
        waiting = await NoticeDocument.find({"status": {"$in": sorted(WAITING)}}).count()
        assert waiting == 0
        await post.good()
        await post.good()
        post.line.clock.advance(days=1)
