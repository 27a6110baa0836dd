"""The bots' whole road against the real graph, SMTP and X: planned, approved, sent once."""

import json
import signal
from typing import Any

import pytest

from tests.bots.road import Road
from tests.lab.lines import having, records
from tests.lab.mongo import free_port
from tests.lab.receiver import running_receiver
from tests.lab.rude import rude_smtp
from tests.lab.runs import a_run, slow_runs
from tests.lab.smtp import SmtpServer
from tests.lab.x_api import XApi

pytestmark = pytest.mark.timeout(500)


def test_from_the_sixth_slow_run_to_the_recovery(road: Road, smtp: SmtpServer, x: XApi) -> None:
    """Two workers at once, one mail and one post of each stage, nothing without leave."""
    for _ in range(2):
        road.bot(**smtp.environment, **x.environment)
    runs = slow_runs(7)
    road.submit(*runs[:5])
    road.submit(runs[5])
    road.wait_for(("mail", "OPENING", "PLANNED"), ("twitter", "OPENING", "PLANNED"))
    assert (smtp.letters, x.posts) == ([], []), "nothing leaves without leave"

    road.approve_all()
    road.wait_for(("mail", "OPENING", "SENT"), ("twitter", "OPENING", "SENT"))
    road.submit(runs[6])
    road.days_pass(3.1)
    road.submit(a_run(930, hours_ago=0.5))
    road.wait_for(("mail", "RECOVERY", "PLANNED"), ("twitter", "RECOVERY", "PLANNED"))
    road.approve_all()
    road.wait_for(("mail", "RECOVERY", "SENT"), ("twitter", "RECOVERY", "SENT"))

    assert len(road.notices()) == 4
    assert len(smtp.letters) == len(x.posts) == 2
    opening, recovery = (letter.message for letter in smtp.letters)
    assert "6 measurements in a row below half of the subscribed 940 Mbps" in opening["Subject"]
    assert recovery["References"] == opening["Message-ID"]
    assert {part.get_filename() for part in opening.walk()} >= {"chart.png", "runs.csv"}
    by_id = {post.id: post for post in x.posts}
    assert all(
        notice["externalReference"] in by_id
        for notice in road.notices()
        if notice["channel"] == "twitter"
    )
    assert [bot.end() for bot in road.bots] == [0, 0], "SIGTERM ends a bot cleanly"


def test_without_configuration_a_notice_is_written_and_waits(road: Road, smtp: SmtpServer) -> None:
    bot = road.bot()
    road.submit(*slow_runs(6))
    road.wait_for(("mail", "OPENING", "PLANNED"), ("twitter", "OPENING", "PLANNED"))
    assert {notice["recipient"] for notice in road.notices()} == {""}
    bot.end()

    road.bot("--channel", "mail", **smtp.environment)
    road.wait(
        "a letter to somebody",
        lambda: "support@isp.example" in {notice["recipient"] for notice in road.notices()},
    )
    assert smtp.letters == []


def test_what_happened_while_no_bot_ran_is_caught_up_once(road: Road, smtp: SmtpServer) -> None:
    road.submit(*slow_runs(6))
    for _ in range(2):
        bot = road.bot("--channel", "mail", "--once", **smtp.environment)
        assert bot.wait() == 0, bot.log.read_text()
    assert road.statuses() == {("mail", "OPENING", "PLANNED")}
    road.approve_all()
    last = road.bot("--channel", "mail", "--once", **smtp.environment)
    assert last.wait() == 0, last.log.read_text()
    assert road.statuses() == {("mail", "OPENING", "SENT")}
    assert len(smtp.letters) == 1


def test_a_bot_killed_while_sending_leaves_unknown_and_no_second_mail(
    road: Road, smtp: SmtpServer
) -> None:
    smtp.fault = "silent after the dot"
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait("the mail's arrival", lambda: len(smtp.letters) == 1)
    assert road.statuses() == {("mail", "OPENING", "SENDING")}
    bot.end(signal.SIGKILL)

    smtp.fault = ""
    road.bot("--channel", "mail", **smtp.environment)
    road.expire_leases()
    road.wait_for(("mail", "OPENING", "UNKNOWN"))
    again = road.bot("--channel", "mail", "--once", **smtp.environment)
    assert again.wait() == 0
    assert len(smtp.letters) == 1
    assert road.statuses() == {("mail", "OPENING", "UNKNOWN")}


def test_a_greylisted_mail_is_tried_again_later(road: Road, smtp: SmtpServer) -> None:
    smtp.fault = "greylisted"
    road.submit(*slow_runs(6))
    road.bot("--channel", "mail", **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait("the first attempt", lambda: "RCPT" in smtp.commands)
    road.wait_for(("mail", "OPENING", "DUE"))
    [notice] = road.notices()
    assert any("451" in (step["why"] or "") for step in notice["steps"])
    assert smtp.letters == []


def test_a_refused_mail_is_dead_and_says_why(road: Road, smtp: SmtpServer) -> None:
    smtp.fault = "unknown recipient"
    road.submit(*slow_runs(6))
    road.bot("--channel", "mail", **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait_for(("mail", "OPENING", "DEAD"))
    [notice] = road.notices()
    assert "550" in notice["steps"][-1]["why"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_wrong_password_stops_sending_and_shows_no_secret(
    log_format: str, road: Road, smtp: SmtpServer
) -> None:
    wrong = {**smtp.environment, "SPEEDTRAP_BOTS_MAIL_PASSWORD": "planted-wrong-password"}
    wrong |= {"SPEEDTRAP_BOTS_LOG_FORMAT": log_format, "SPEEDTRAP_BOTS_LOG_LEVEL": "DEBUG"}
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", **wrong)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait("the stop", lambda: "stopped until the next start" in bot.log.read_text())
    assert smtp.commands.count("AUTH") <= 2, "one delivery, with each of the server's methods"
    everything = bot.log.read_text() + json.dumps(road.notices())
    for secret in ("planted-wrong-password", road.service.keys["bot"]):
        assert secret not in everything


def test_the_bots_come_back_after_graph_was_away(road: Road, smtp: SmtpServer) -> None:
    bot = road.bot("--channel", "mail", **smtp.environment)
    road.service.kill()
    road.wait("its notice of that", lambda: "cannot be reached" in bot.log.read_text())
    road.service.start()
    road.submit(*slow_runs(6))
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait_for(("mail", "OPENING", "SENT"))
    assert len(smtp.letters) == 1


def test_a_delivery_is_settled_after_graph_was_killed_in_its_middle(
    road: Road, smtp: SmtpServer
) -> None:
    smtp.fault = "silent after the dot"
    road.submit(*slow_runs(6))
    road.bot("--channel", "mail", SPEEDTRAP_BOTS_MAIL_VERDICT_TIMEOUT_S="2", **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait("the mail's arrival", lambda: len(smtp.letters) == 1)
    road.service.kill()
    road.service.start()
    road.wait_for(("mail", "OPENING", "UNKNOWN"))
    [notice] = road.notices()
    assert "no reply to the message" in notice["steps"][-1]["why"]
    assert len(smtp.letters) == 1


def test_a_breach_that_ends_before_leave_is_never_announced(road: Road, smtp: SmtpServer) -> None:
    road.submit(*slow_runs(6))
    road.bot("--channel", "mail", **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.submit(a_run(930, hours_ago=0.5))
    road.approve_all()
    road.wait_for(("mail", "OPENING", "SUPPRESSED"))
    assert smtp.letters == []


def test_a_refusal_in_a_national_encoding_is_on_record_and_in_the_log_and_the_bot_goes_on(
    road: Road,
) -> None:
    """Its bytes are no UTF-8, and a server may send line breaks of its own."""
    reply = "550-Boîte aux lettres\r\n550 inconnue \x1b[31m".encode("latin-1")
    road.submit(*slow_runs(6))
    with rude_smtp(reply) as port:
        to = {"HOST": "127.0.0.1", "PORT": str(port), "TLS": "none", "FROM": "jane@home.example"}
        settings = {f"SPEEDTRAP_BOTS_MAIL_{name}": value for name, value in to.items()}
        settings["SPEEDTRAP_BOTS_MAIL_TO"] = "support@isp.example"
        bot = road.bot("--channel", "mail", **settings)
        road.wait_for(("mail", "OPENING", "PLANNED"))
        road.approve_all()
        road.wait_for(("mail", "OPENING", "DEAD"))
        road.wait("its word of that", lambda: "is DEAD" in bot.log.read_text())
        assert bot.end() == 0
    [notice] = road.notices()
    why = "the mail server said 550 Bo\ufffdte aux lettres inconnue [31m"
    assert notice["steps"][-1]["why"] == why
    [line] = [line for line in bot.log.read_text().splitlines() if "is DEAD" in line]
    assert line.endswith(f"({why})")


def test_a_settlement_that_the_ledger_does_not_take_is_said_and_sigterm_ends_the_bot(
    road: Road, smtp: SmtpServer
) -> None:
    road.submit(*slow_runs(6))
    smtp.fault = "silent after the dot"
    settings = {"SPEEDTRAP_BOTS_MAIL_VERDICT_TIMEOUT_S": "3", "SPEEDTRAP_BOTS_LOG_FORMAT": "json"}
    bot = road.bot("--channel", "mail", **settings, **smtp.environment)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.approve_all()
    road.wait("the mail's arrival", lambda: len(smtp.letters) == 1)
    [notice] = road.notices()
    road.service.kill()

    def said_of_the_notice() -> list[dict[str, Any]]:
        found = having(records(bot.log), "cannot be reached")
        return [record for record in found if record.get("notice_id") == notice["id"]]

    road.wait("its word of the settlement", lambda: bool(said_of_the_notice()))
    assert said_of_the_notice()[0]["retry_in_s"] > 0
    assert bot.end() == 0
    [last] = having(records(bot.log), "not settled as UNKNOWN")
    assert (last["level"], last["notice_id"]) == ("ERROR", notice["id"])


def test_a_dead_address_of_two_has_the_good_one_told_once(road: Road) -> None:
    road.submit(*slow_runs(6))
    with running_receiver() as good:
        dead = f"json://127.0.0.1:{free_port()}/"
        urls = f"{good.url.replace('http', 'json')}/ {dead}"
        road.once("apprise", SPEEDTRAP_BOTS_APPRISE_URLS=urls)
        for _ in range(2):
            road.days_pass(1)
            road.once("apprise", SPEEDTRAP_BOTS_APPRISE_URLS=urls)
        [notice] = road.notices()
        assert len(good.taken) == 1
    assert (notice["status"], notice["attempts"]) == ("DUE", 3)
    assert notice["steps"][-1]["why"].endswith("address 2 (json)")
