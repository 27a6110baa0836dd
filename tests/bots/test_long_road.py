"""What takes days or a person: limits, digest, reminder, silence, STOP, bounces, the switch."""

import re
from collections.abc import Iterator

import pytest

from tests.bots.road import Road
from tests.lab.runs import a_run, slow_runs
from tests.lab.smtp import SmtpServer
from tests.lab.x_api import XApi

pytestmark = pytest.mark.timeout(500)

SILENCE = """
mutation { silence(probe: "laptop", until: "2100-01-01T00:00:00Z", reason: "moving") { until } }
"""


def a_slow_stretch(first_hours_ago: float) -> Iterator[dict[str, object]]:
    """Six slow runs, one an hour."""
    return (a_run(120, hours_ago=first_hours_ago - hour) for hour in range(6))


def send_the_opening(road: Road, smtp: SmtpServer, first_hours_ago: float = 40) -> None:
    road.submit(*a_slow_stretch(first_hours_ago))
    road.once("mail", **smtp.environment)
    road.approve_all()
    road.once("mail", **smtp.environment)
    assert ("mail", "OPENING", "SENT") in road.statuses()


def test_what_the_limits_hold_back_is_told_in_one_digest(road: Road, smtp: SmtpServer) -> None:
    send_the_opening(road, smtp)
    road.submit(a_run(930, hours_ago=30))
    road.submit(*a_slow_stretch(28))
    road.once("mail", **smtp.environment)
    road.approve_all()
    road.once("mail", **smtp.environment)
    assert ("mail", "OPENING", "APPROVED") in road.statuses(), "held back by the cool-down"
    assert ("mail", "RECOVERY", "SUPPRESSED") in road.statuses(), "recoveries count like all"
    road.submit(a_run(930, hours_ago=20))

    road.days_pass(4)
    road.once("mail", **smtp.environment)
    assert ("mail", "OPENING", "SUPPRESSED") in road.statuses(), "it is over by now"
    assert len(smtp.letters) == 1
    road.days_pass(7)
    for _ in range(2):
        road.once("mail", **smtp.environment)
        road.approve_all()
    assert [n["status"] for n in road.notices() if n["stage"] == "DIGEST"] == ["SENT"]
    opening, digest = (letter.message for letter in smtp.letters)
    body = digest.get_body(("plain",))
    assert body is not None
    said = body.get_content()
    [first, second] = re.findall(r"ST-\w+", said.partition("The month")[0])
    assert first in opening["Subject"], "of which it has recovered since"
    assert second != first
    assert said.count("again since") == 2
    assert said.count("We wrote to you about it") == 1
    road.days_pass(8)
    road.once("mail", **smtp.environment)
    assert len([n for n in road.notices() if n["stage"] == "DIGEST"]) == 1, "each told once"


def test_a_week_after_its_opening_one_more_letter_is_written(road: Road, smtp: SmtpServer) -> None:
    send_the_opening(road, smtp)
    road.days_pass(6.5)
    road.once("mail", **smtp.environment)
    assert len(road.notices()) == 1
    road.days_pass(0.6)
    road.once("mail", **smtp.environment)
    assert len(road.notices()) == 1, "nothing of the last day shows that it still is so"
    road.submit(a_run(120, hours_ago=2))
    for _ in range(2):
        road.once("mail", **smtp.environment)
        road.approve_all()
    assert ("mail", "REMINDER", "SENT") in road.statuses()
    opening, reminder = (letter.message for letter in smtp.letters)
    assert reminder["References"] == opening["Message-ID"]
    road.days_pass(8)
    road.once("mail", **smtp.environment)
    assert len(road.notices()) == 2, "no third"


def test_leave_that_comes_after_the_breach_was_taken_back_sends_nothing(
    road: Road, smtp: SmtpServer
) -> None:
    road.submit(*a_slow_stretch(10))
    road.once("mail", **smtp.environment)
    road.approve_all()
    road.submit(a_run(930, hours_ago=7.5))  # it comes late, and was in the middle
    road.approve_all()
    road.once("mail", **smtp.environment)
    assert road.statuses() == {("mail", "OPENING", "SUPPRESSED")}
    assert smtp.letters == []


def test_a_silenced_probe_is_not_complained_about(road: Road, smtp: SmtpServer) -> None:
    road.submit(*slow_runs(6))
    road.once("mail", **smtp.environment)
    road.approve_all()
    road.service.query(SILENCE)
    road.once("mail", **smtp.environment)
    assert road.statuses() == {("mail", "OPENING", "SILENCED")}
    assert smtp.letters == []


def test_who_answers_stop_hears_nothing_more(road: Road, smtp: SmtpServer) -> None:
    send_the_opening(road, smtp, 10)
    said = road.command("stop", "support@isp.example", "--reason", "answered STOP")
    assert "support@isp.example: answered STOP (by operator)" in said
    road.submit(a_run(930, hours_ago=1))
    road.once("mail", **smtp.environment)
    assert ("mail", "RECOVERY", "SUPPRESSED") in road.statuses()
    road.submit(*slow_runs(6))
    assert len(smtp.letters) == 1


def test_a_letter_that_came_back_is_dead_and_not_followed_up(road: Road, smtp: SmtpServer) -> None:
    send_the_opening(road, smtp, 10)
    [notice] = road.notices()
    said = road.command("bounce", notice["id"], "--detail", "550 5.1.1 no such user")
    assert "DEAD" in said
    road.days_pass(8)
    road.submit(a_run(930, hours_ago=1))
    road.once("mail", **smtp.environment)
    assert len(smtp.letters) == len(road.notices()) == 1
    assert "bounced: 550" in road.notices()[0]["steps"][-1]["why"]


def test_while_all_is_paused_nothing_leaves_and_nothing_is_forgotten(
    road: Road, smtp: SmtpServer
) -> None:
    road.submit(*slow_runs(6))
    road.once("mail", **smtp.environment)
    road.command("pause", "--reason", "holidays")
    road.approve_all()
    road.once("mail", **smtp.environment)
    assert smtp.letters == []
    road.command("resume")
    road.once("mail", **smtp.environment)
    assert road.statuses() == {("mail", "OPENING", "SENT")}
    assert len(smtp.letters) == 1


def test_an_x_that_wants_money_stops_posts_with_one_line_and_mail_goes_on(
    road: Road, smtp: SmtpServer, x: XApi
) -> None:
    x.fault = "unpaid"
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", "--channel", "twitter", **smtp.environment, **x.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"), ("twitter", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait_for(("mail", "OPENING", "SENT"), ("twitter", "OPENING", "DUE"))
    road.wait("the stop", lambda: "stopped until the next start" in bot.log.read_text())
    assert bot.log.read_text().count("ERROR") == 1
    assert x.requests.count("POST /2/tweets") == 1
    assert (len(smtp.letters), x.posts) == (1, [])
