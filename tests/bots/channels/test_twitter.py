"""Posts against a stand-in for X that checks every signature."""

import logging
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import pytest
from pydantic import ValidationError
from speedtrap_bots.channels.twitter import Twitter, TwitterSettings
from speedtrap_bots.content import Content
from speedtrap_bots.delivery.lease import Lease, now_s
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown
from speedtrap_bots.model import Attachment, Notice, Stage

from tests.bots.builders import a_breach, a_notice, allowed
from tests.lab.mongo import free_port
from tests.lab.x_api import (
    ACCESS_TOKEN,
    ACCESS_TOKEN_SECRET,
    CONSUMER_KEY,
    CONSUMER_SECRET,
    Fault,
    XApi,
    x_api,
)


def settings_for(x: XApi, **changes: object) -> TwitterSettings:
    values: dict[str, object] = {
        "enabled": True,
        "consumer_key": CONSUMER_KEY,
        "consumer_secret": CONSUMER_SECRET,
        "access_token": ACCESS_TOKEN,
        "access_token_secret": ACCESS_TOKEN_SECRET,
        "ca_file": x.ca_file,
        "address": f"127.0.0.1:{x.port}",
    }
    return TwitterSettings.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XApi]:
    with x_api(tmp_path_factory.mktemp("x"), free_port()) as server:
        yield server


@pytest.fixture
def x(started: XApi) -> XApi:
    """The same server for all, each time as if it had just started."""
    vars(started).update(vars(XApi(started.port, started.ca_file)))
    return started


@cache
def _written() -> Content:
    """Drawn once: it is always the same."""
    return Twitter(TwitterSettings()).write(a_breach(), Stage.OPENING)


def a_post_notice(**changes: object) -> Notice:
    """The real post, frozen as the ledger freezes it."""
    content = _written()
    files = tuple(
        Attachment(
            name=file.name,
            media_type=file.media_type,
            alt_text=file.alt_text,
            sha256=sha256(file.content).hexdigest(),
            content_base64=b64encode(file.content).decode(),
        )
        for file in content.files
    )
    values: dict[str, object] = {
        "channel": "twitter", "recipient": "timeline", "subject": "", "text": content.text,
        "attachments": files,
    }  # fmt: skip
    return a_notice(**{**values, **changes})


async def test_a_post_arrives_with_its_chart_and_its_description(x: XApi) -> None:
    notice = a_post_notice()
    reference = await Twitter(settings_for(x)).deliver(notice, allowed)
    [post] = x.posts
    assert (post.id, post.text) == (reference, notice.text)
    assert "ST-7K2M9Q" in post.text
    [media_id] = post.media_ids
    assert x.media[media_id].content == notice.attachments[0].content
    assert x.media[media_id].alt_text == notice.attachments[0].alt_text
    assert x.refused_signatures == 0
    assert x.requests == ["POST /2/media/upload", "POST /2/media/metadata", "POST /2/tweets"]


@pytest.mark.parametrize(
    ("fault", "error", "made"),
    [
        ("rate limited", Unavailable, 0),
        ("upload unavailable", Unavailable, 0),
        ("forbidden", Refused, 0),
        ("used up", Unavailable, 0),
        ("unavailable", Unknown, 0),
        ("redirect", Unknown, 0),
        ("malformed", Unknown, 0),
        ("internal error after the post", Unknown, 1),
        ("cut after the post", Unknown, 1),
        ("slow after the post", Unknown, 1),
        ("no data", Unknown, 1),
        ("garbage after the post", Unknown, 1),
        ("duplicate", Unknown, 0),
        ("cut", Unknown, 0),
    ],
)
async def test_how_a_post_ended_is_told_apart(
    x: XApi, fault: Fault, error: type[ChannelError], made: int
) -> None:
    x.fault = fault
    with pytest.raises(ChannelError) as caught:
        await Twitter(settings_for(x, request_timeout_s=1)).deliver(a_post_notice(), allowed)
    assert type(caught.value) is error
    assert len(x.posts) == made
    assert caught.value.__cause__ is None, "the cause holds the signed headers"


@pytest.mark.parametrize("fault", ["rate limited", "rate limited today"])
async def test_the_latest_of_the_limits_counts(x: XApi, fault: Fault) -> None:
    x.fault, x.reset_at = fault, int(time.time()) + 80_000
    with pytest.raises(Unavailable) as caught:
        await Twitter(settings_for(x)).deliver(a_post_notice(), allowed)
    assert caught.value.retry_after_s == pytest.approx(80_000, abs=60)
    assert not caught.value.stops_channel


async def test_a_wrong_token_stops_the_channel(x: XApi) -> None:
    with pytest.raises(Unavailable) as caught:
        await Twitter(settings_for(x, access_token_secret="wrong")).deliver(
            a_post_notice(), allowed
        )
    assert caught.value.stops_channel
    assert x.posts == []
    assert x.refused_signatures == 1


@pytest.mark.parametrize("fault", ["used up", "unpaid", "withdrawn"])
async def test_an_api_that_costs_more_or_is_gone_stops_the_channel(x: XApi, fault: Fault) -> None:
    x.fault = fault
    with pytest.raises(Unavailable) as caught:
        await Twitter(settings_for(x)).deliver(a_post_notice(), allowed)
    assert caught.value.stops_channel


async def test_a_duplicate_may_be_our_own(x: XApi) -> None:
    twitter = Twitter(settings_for(x))
    await twitter.deliver(a_post_notice(), allowed)
    with pytest.raises(Unknown):
        await twitter.deliver(a_post_notice(), allowed)
    assert len(x.posts) == 1


async def test_x_being_away_is_tried_later(x: XApi) -> None:
    away = settings_for(x, address=f"127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Twitter(away).deliver(a_post_notice(), allowed)


async def test_an_impostor_gets_no_post(x: XApi) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Twitter(settings_for(x, ca_file=None)).deliver(a_post_notice(), allowed)
    assert x.requests == []


@pytest.mark.parametrize(
    "text",
    ["@isp look", "look \uff20isp", "a #fail", "$ISP falls", "see isp.com", "x" * 281, ""],
)
async def test_what_bothers_people_is_refused(x: XApi, text: str) -> None:
    with pytest.raises(Refused):
        await Twitter(settings_for(x)).deliver(a_post_notice(text=text), allowed)
    assert x.requests == []


async def test_no_token_in_any_log(x: XApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    x.fault = "forbidden"
    with pytest.raises(Refused):
        await Twitter(settings_for(x)).deliver(a_post_notice(), allowed)
    for secret in (CONSUMER_KEY, CONSUMER_SECRET, ACCESS_TOKEN, ACCESS_TOKEN_SECRET):
        assert secret not in caplog.text


def test_posting_is_off_until_switched_on(x: XApi) -> None:
    assert Twitter(TwitterSettings()).recipient == ""
    assert Twitter(settings_for(x, enabled=False)).recipient == ""
    assert Twitter(settings_for(x, access_token=None)).recipient == ""
    assert Twitter(settings_for(x)).recipient == "timeline"


def test_the_stand_in_is_on_loopback(x: XApi) -> None:
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1:<port>"):
        settings_for(x, address="203.0.113.5:443")


async def test_a_post_of_unknown_outcome_is_looked_up(x: XApi) -> None:
    """X shows it escaped and with a link for its picture; another stage's post is not it."""
    twitter = Twitter(settings_for(x, request_timeout_s=1))
    notice = a_post_notice()
    tricky = a_post_notice(text="AT&T <Example>: please look. ST-7K2M9Q", attachments=())
    assert await twitter.look_up(notice) is None
    x.fault = "internal error after the post"
    for sent in (notice, tricky):
        with pytest.raises(Unknown):
            await twitter.deliver(sent, allowed)
    x.fault = ""
    assert [await twitter.look_up(sent) for sent in (notice, tricky)] == [p.id for p in x.posts]
    assert await twitter.look_up(a_post_notice(text=notice.text + " Thank you.")) is None


async def test_a_post_is_looked_up_page_by_page(x: XApi) -> None:
    """Others of our own may have come after it; those from before its leave are of no interest."""
    twitter, notice = Twitter(settings_for(x)), a_post_notice(attachments=())
    notice = notice.model_copy(update={"approved_at": datetime.now(UTC)})
    x.page_size, x.refuses_duplicates = 2, False
    await twitter.deliver(notice, allowed)
    for number in range(5):
        await twitter.deliver(a_post_notice(text=f"Another {number}.", attachments=()), allowed)
    assert await twitter.look_up(notice) == x.posts[0].id
    missing = notice.model_copy(update={"text": "This was never posted."})
    assert await twitter.look_up(missing) is None
    x.posts[:] = [replace(post, at=post.at - timedelta(days=3)) for post in x.posts]
    x.requests.clear()
    assert await twitter.look_up(missing) is None
    assert len(x.requests) == 2, "who we are, and one page: the rest is older than its leave"


@pytest.mark.parametrize("fault", ["unreadable", "half a list"])
async def test_a_look_up_that_fails_is_no_answer(x: XApi, fault: Fault) -> None:
    x.fault = fault
    with pytest.raises(Unavailable):
        await Twitter(settings_for(x)).look_up(a_post_notice())


async def test_a_worker_that_slept_over_its_lease_posts_nothing(x: XApi) -> None:
    lease = Lease(now_s() - 60, 30)
    with pytest.raises(Unavailable, match="its lease is over"):
        await Twitter(settings_for(x)).deliver(a_post_notice(), lease.may_send)
    assert x.requests == []


async def test_the_test_posts_nothing(x: XApi) -> None:
    assert "nothing was posted" in await Twitter(settings_for(x)).test()
    assert x.posts == []


@pytest.mark.parametrize(("hour", "until"), [(23, 15), (5, 15), (14, 15), (15, None), (4, None)])
def test_no_post_in_quiet_hours(x: XApi, hour: int, until: int | None) -> None:
    """22:00 to 08:00 in Denver is 05:00 to 15:00 UTC in winter."""
    twitter = Twitter(settings_for(x, quiet_hours="22:00-08:00", time_zone="America/Denver"))
    quiet = twitter.quiet_until(datetime(2026, 12, 1, hour, tzinfo=UTC))
    assert (quiet.astimezone(UTC).hour if quiet else None) == (None if hour == 23 else until)


def test_wrong_quiet_hours_are_named(x: XApi) -> None:
    for wrong in ({"quiet_hours": "22-8"}, {"time_zone": "Denver"}):
        with pytest.raises(ValidationError, match=r"must look like 22:00|IANA time zone"):
            settings_for(x, **wrong)
