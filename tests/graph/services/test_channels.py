"""What is known of the channels, and the tests that a person asks of them."""

import pytest
from speedtrap_graph.errors import BadInputError, ConflictError
from speedtrap_graph.rules.permission import NoticeStatus
from speedtrap_graph.services.notices.channels import (
    Channel,
    ChannelReport,
    Channels,
    ChannelState,
    ChannelTestState,
)
from speedtrap_graph.services.notices.outcomes import SettleOutcome
from speedtrap_graph.services.notices.records import Terms
from speedtrap_graph.store.database import Store

from tests.graph.services.post import Post, a_draft
from tests.lab.line import Line


@pytest.fixture
async def post(store: Store) -> Post:
    line = Line(store)
    await line.buy()
    return Post(line, owner_channels=frozenset({"webhook"}))


@pytest.fixture
async def channels(post: Post) -> Channels:
    return Channels(post.line.store, post.line.clock, Terms(owner_channels=post.owner_channels))


async def reported(
    channels: Channels,
    state: ChannelState = ChannelState.READY,
    worker: str = "one",
    why: str | None = None,
) -> None:
    await channels.report(ChannelReport("mail", worker, state, "support@isp.example", why))


async def the_only(channels: Channels) -> Channel:
    [channel] = await channels.all()
    return channel


async def test_a_channel_lives_while_a_bot_of_it_is_heard_of(
    post: Post, channels: Channels
) -> None:
    assert await channels.all() == []
    await reported(channels)
    begun = post.line.clock()
    post.line.clock.advance(seconds=20)
    await reported(channels)
    channel = await the_only(channels)
    assert (channel.workers, channel.state, channel.since) == (1, ChannelState.READY, begun)
    post.line.clock.advance(seconds=61)
    channel = await the_only(channels)
    assert (channel.workers, channel.state) == (0, ChannelState.READY)
    assert channel.last_seen_at is not None
    post.line.clock.advance(days=31)
    await channels.report(ChannelReport("twitter", "two", ChannelState.READY))
    await reported(channels, worker="three")
    mail, _ = await channels.all()
    assert (mail.name, mail.workers) == ("mail", 1)
    assert await channels.store["channel_workers"].count_documents({"worker": "one"}) == 0


async def test_what_stopped_one_of_several_bots_is_shown_before_what_runs_well(
    channels: Channels,
) -> None:
    await reported(channels, worker="a")
    await reported(channels, ChannelState.STOPPED, "b", "X said 402: no $credits")
    channel = await the_only(channels)
    assert (channel.workers, channel.state) == (2, ChannelState.STOPPED)
    assert channel.why == "X said 402: no $credits"
    await reported(channels, ChannelState.ENDED, "b")
    channel = await the_only(channels)
    assert (channel.workers, channel.state, channel.why) == (1, ChannelState.READY, None)


async def test_notices_are_counted_by_how_far_they_got(post: Post, channels: Channels) -> None:
    breach = await post.slow()
    await post.ledger.draft(a_draft(breach, channel="twitter"), "bot")
    await post.ledger.draft(a_draft(breach, channel="webhook", recipient="me"), "bot")
    await post.sent(breach)
    mail, twitter, webhook = await channels.all()
    assert mail.count(NoticeStatus.SENT) == 1
    assert twitter.count(NoticeStatus.PLANNED) == 1
    assert webhook.count(NoticeStatus.APPROVED, NoticeStatus.DUE) == 1
    assert [channel.needs_leave for channel in (mail, twitter, webhook)] == [True, True, False]
    assert mail.state is None


async def test_a_test_is_taken_once_and_how_it_ended_can_be_read(channels: Channels) -> None:
    await reported(channels)
    asked = await channels.ask_for_test("mail", "operator")
    assert (asked.state, asked.asked_by) == (ChannelTestState.ASKED, "operator")
    assert (await channels.ask_for_test("mail", "somebody else")).id == asked.id
    assert await channels.claim_test("twitter", "two") is None
    taken = await channels.claim_test("mail", "one")
    assert taken is not None
    assert taken.id == asked.id
    assert await channels.claim_test("mail", "two") is None
    for _ in range(2):
        ended = await channels.settle_test("mail", asked.id, SettleOutcome.SENT, "250 ok")
        assert (ended.state, ended.why) == (ChannelTestState.SENT, "250 ok")
    with pytest.raises(ConflictError, match="not under way"):
        await channels.settle_test("mail", asked.id, SettleOutcome.REFUSED, "no")
    assert (await the_only(channels)).last_test == ended
    assert (await channels.ask_for_test("mail", "operator")).id != asked.id


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (SettleOutcome.UNAVAILABLE, ChannelTestState.FAILED),
        (SettleOutcome.REFUSED, ChannelTestState.FAILED),
        (SettleOutcome.UNKNOWN, ChannelTestState.UNKNOWN),
    ],
)
async def test_a_test_that_went_wrong_says_how(
    channels: Channels, outcome: SettleOutcome, state: ChannelTestState
) -> None:
    await reported(channels)
    asked = await channels.ask_for_test("mail", "operator")
    await channels.claim_test("mail", "one")
    with pytest.raises(BadInputError, match="cannot end so"):
        await channels.settle_test("mail", asked.id, SettleOutcome.NOT_FOUND, None)
    assert (await channels.settle_test("mail", asked.id, outcome, "why")).state is state


async def test_a_test_that_nobody_takes_is_never_sent_later(post: Post, channels: Channels) -> None:
    await reported(channels)
    asked = await channels.ask_for_test("mail", "operator")
    post.line.clock.advance(minutes=5)
    assert await channels.claim_test("mail", "one") is None
    channel = await the_only(channels)
    assert channel.last_test is not None
    assert channel.last_test.state is ChannelTestState.EXPIRED
    assert "nothing was sent" in (channel.last_test.why or "")
    await reported(channels)
    assert (await channels.ask_for_test("mail", "operator")).id != asked.id


async def test_a_test_whose_bot_died_may_have_arrived(post: Post, channels: Channels) -> None:
    await reported(channels)
    asked = await channels.ask_for_test("mail", "operator")
    await channels.claim_test("mail", "one")
    post.line.clock.advance(minutes=5)
    channel = await the_only(channels)
    assert channel.last_test is not None
    assert channel.last_test.state is ChannelTestState.UNKNOWN
    late = await channels.settle_test("mail", asked.id, SettleOutcome.SENT, "250 ok")
    assert late.state is ChannelTestState.SENT, "only that bot knows"


async def test_without_a_living_bot_a_test_is_refused_at_once(
    post: Post, channels: Channels
) -> None:
    with pytest.raises(ConflictError, match="no bot of the channel mail is running"):
        await channels.ask_for_test("mail", "operator")
    with pytest.raises(BadInputError, match="channel must be"):
        await channels.ask_for_test("$where", "operator")
    await reported(channels)
    post.line.clock.advance(seconds=61)
    with pytest.raises(ConflictError, match="speedtrap bots run --channel mail"):
        await channels.ask_for_test("mail", "operator")


async def test_the_switch_for_everything_holds_tests_too(post: Post, channels: Channels) -> None:
    await reported(channels)
    await channels.ask_for_test("mail", "operator")
    await post.ledger.set_sending(False, "holidays", "operator")
    assert await channels.claim_test("mail", "one") is None
    with pytest.raises(ConflictError, match="switched off: holidays"):
        await channels.ask_for_test("mail", "operator")


async def test_a_test_counts_against_no_limit_and_is_no_notice(
    post: Post, channels: Channels
) -> None:
    await reported(channels)
    for _ in range(3):
        asked = await channels.ask_for_test("mail", "operator")
        await channels.claim_test("mail", "one")
        await channels.settle_test("mail", asked.id, SettleOutcome.SENT, "250 ok")
    assert (await the_only(channels)).counts == {}
    assert (await post.sent(await post.slow())).status == "SENT"
