"""What becomes of notices when the breach that they tell of is not what it was."""

import asyncio

import pytest
from speedtrap_graph.rules.model import Rule
from speedtrap_graph.services.errors import ConflictError
from speedtrap_graph.services.leave import NOT_RECOVERED, RECOVERED_FIRST, WAITING, Stage
from speedtrap_graph.store.database import Store
from speedtrap_graph.store.documents import BreachDocument, NoticeDocument

from tests.graph.services.post import GOOD, SLOW, Post, a_draft
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


async def read_again(notice: NoticeDocument) -> NoticeDocument:
    found = await NoticeDocument.get(notice.id)
    assert found is not None
    return found


async def test_an_opening_that_a_seeming_recovery_held_back_comes_back_with_the_breach(
    post: Post,
) -> None:
    notice = await post.ledger.plan(a_draft(await post.slow()), "bot")
    await recovered(post)
    held = await post.ledger.approve(notice.id, notice.digest, "operator")
    assert (held.status, held.steps[-1].why) == ("SUPPRESSED", RECOVERED_FIRST)
    await a_late_slow_run(post)
    back = await read_again(notice)
    assert (back.status, back.steps[-1].why) == ("APPROVED", "the line has not recovered")
    claim = await post.ledger.claim("mail", "worker")
    assert claim is not None
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "bot")


async def test_a_recovery_that_was_none_is_withdrawn_and_comes_back_with_the_real_one(
    post: Post,
) -> None:
    await post.sent(await post.slow())
    recovery = await post.ledger.plan(a_draft(await recovered(post), Stage.RECOVERY), "bot")
    await a_late_slow_run(post)
    gone = await read_again(recovery)
    assert (gone.status, gone.steps[-1].why) == ("SUPPRESSED", NOT_RECOVERED)
    await post.line.measure(GOOD, GOOD, first_hour=9)
    back = await read_again(recovery)
    assert (back.status, back.steps[-1].why) == ("PLANNED", "the line has recovered")


async def test_a_recovery_that_was_sent_too_early_is_contradicted(post: Post) -> None:
    opening = await post.sent(await post.slow())
    recovery = await post.sent(await recovered(post), stage=Stage.RECOVERY)
    assert recovery.status == "SENT"
    await a_late_slow_run(post)
    told = await read_again(recovery)
    assert (told.status, told.contradicted_why) == ("SENT", NOT_RECOVERED)
    assert (await read_again(opening)).contradicted_at is None


async def test_a_digest_that_told_of_a_breach_which_falls_is_contradicted(post: Post) -> None:
    breach = await post.slow()
    other = await post.line.breaches()
    draft = a_draft(breach, Stage.DIGEST, covers=[breach.id])
    digest = await post.sent(other[0], stage=Stage.DIGEST, covers=draft.covers)
    await a_late_good_pair(post)
    told = await read_again(digest)
    assert told.status == "SENT"
    assert "came late" in (told.contradicted_why or "")


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


async def test_planning_and_taking_back_at_once_leave_nothing_that_waits(post: Post) -> None:
    for _ in range(6):
        breach = await post.slow()
        middle = post.hour - 3.5
        ways = ("mail", "webhook", "twitter")

        async def write(breach: BreachDocument = breach, ways: tuple[str, ...] = ways) -> None:
            for channel in ways:
                draft = a_draft(breach, channel=channel)
                notice = await post.ledger.plan(draft, "bot")
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
