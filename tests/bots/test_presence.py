"""What graph is told of the channels, and the tests that a person asks of a running bot."""

from collections import deque
from typing import Any

import pytest

from tests.bots.road import Road
from tests.lab.runs import slow_runs
from tests.lab.smtp import SmtpServer
from tests.lab.x_api import XApi

pytestmark = pytest.mark.timeout(500)

CHANNELS = """
{ channels { name alive state why recipient waiting due unknown sent dead
             lastTest { state why endedAt } } }
"""
SEND_TEST = "mutation($channel: String!) { sendTest(channel: $channel) { state } }"
LOOK_NOW = [{"$set": {"check_at": {"$subtract": ["$$NOW", 1000]}}}]


def channel(road: Road, name: str) -> dict[str, Any]:
    found = {one["name"]: one for one in road.service.query(CHANNELS, role="viewer")["channels"]}
    known: dict[str, Any] = found.get(name, {})
    return known


def how_it_ended(road: Road, name: str) -> dict[str, Any]:
    """How a test ended that was asked for by the API."""
    road.service.query(SEND_TEST, {"channel": name})
    road.wait(
        "the test's end",
        lambda: channel(road, name)["lastTest"]["state"] not in {"ASKED", "SENDING"},
    )
    ended: dict[str, Any] = channel(road, name)["lastTest"]
    return ended


def test_a_running_bot_sends_the_test_that_the_page_asks_for_to_the_owner(
    road: Road, smtp: SmtpServer
) -> None:
    """Before anybody is configured whom it could complain to."""
    settings = {**smtp.environment, "SPEEDTRAP_BOTS_MAIL_TO": ""}
    refused = road.service.post(SEND_TEST, {"channel": "mail"})["errors"][0]
    assert "no bot of the channel mail is running" in refused["message"]
    bot = road.bot("--channel", "mail", **settings)
    road.wait("its first word", lambda: bool(channel(road, "mail")))
    assert (channel(road, "mail")["alive"], channel(road, "mail")["state"]) == (
        True,
        "UNCONFIGURED",
    )
    ended = how_it_ended(road, "mail")
    assert ended["state"] == "SENT"
    assert ended["why"].startswith("sent to jane@home.example: 250")
    [letter] = smtp.letters
    assert letter.recipients == ("jane@home.example",)
    assert road.notices() == []

    smtp.fault = "unknown recipient"
    ended = how_it_ended(road, "mail")
    assert (ended["state"], "550" in ended["why"]) == ("FAILED", True)
    smtp.fault = "cut after the dot"
    assert how_it_ended(road, "mail")["state"] == "UNKNOWN"
    smtp.fault = ""
    assert "sent to jane@home.example" in road.command("send-test", "--by-bot")
    assert bot.end() == 0
    assert (channel(road, "mail")["alive"], channel(road, "mail")["state"]) == (False, "ENDED")
    said = road.command("channels")
    assert "mail  ENDED, none running" in said
    assert "to (nobody configured); 0 wait for approval" in said
    assert "last test SENT: sent to jane@home.example" in said


def test_an_x_that_is_withdrawn_while_a_post_is_looked_up_stops_posts_and_mail_goes_on(
    road: Road, smtp: SmtpServer, x: XApi
) -> None:
    """It says so once; a test that succeeds sets it going again."""
    x.fault = "cut after the post"
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", "--channel", "twitter", **smtp.environment, **x.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"), ("twitter", "OPENING", "PLANNED"))
    road.approve_all("twitter")
    road.wait_for(("twitter", "OPENING", "UNKNOWN"))
    x.fault = ""
    x.script["me"] = deque(["unpaid"] * 2)
    look_now(road)
    road.wait("the stop", lambda: channel(road, "twitter")["state"] == "STOPPED")
    assert "402" in channel(road, "twitter")["why"]
    assert channel(road, "twitter")["unknown"] == 1
    look_now(road)
    road.approve_all()
    road.wait_for(("mail", "OPENING", "SENT"), ("twitter", "OPENING", "UNKNOWN"))
    assert channel(road, "mail")["state"] == "READY"
    assert how_it_ended(road, "twitter")["state"] == "FAILED"
    assert x.requests.count("GET /2/users/me") == 2, "the look-up and the test"
    assert bot.log.read_text().count("ERROR") == 1

    ended = how_it_ended(road, "twitter")
    assert (ended["state"], "nothing was posted" in ended["why"]) == ("SENT", True)
    road.wait_for(("twitter", "OPENING", "SENT"))
    assert channel(road, "twitter")["state"] == "READY"
    assert (len(x.posts), len(smtp.letters)) == (1, 1)


def look_now(road: Road) -> None:
    """Plays the pause before a look-up."""
    with road.mongod.client() as client:
        client[road.database].notices.update_many({"status": "UNKNOWN"}, LOOK_NOW)
