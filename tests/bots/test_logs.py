"""What a bot's real process writes to its log, for programs and for people."""

import re

import pytest

from tests.bots.road import Road
from tests.lab.lines import having, records, the_one
from tests.lab.nursery import Nursery
from tests.lab.runs import slow_runs
from tests.lab.smtp import SmtpServer

pytestmark = pytest.mark.timeout(500)


def test_from_start_to_end_every_line_is_a_record_with_what_it_is_about(
    road: Road, smtp: SmtpServer
) -> None:
    asked = {"SPEEDTRAP_BOTS_LOG_FORMAT": "json", **smtp.environment}
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", **asked)
    road.wait_for(("mail", "OPENING", "PLANNED"))
    road.wait("its word of that", lambda: "planned OPENING for" in bot.log.read_text())
    road.service.kill()
    road.wait("its notice of that", lambda: "cannot be reached" in bot.log.read_text())
    road.service.start()
    road.approve_all()
    road.wait_for(("mail", "OPENING", "SENT"))
    assert bot.end() == 0
    (notice,) = road.notices()
    said = records(bot.log)
    planned = the_one(said, "planned OPENING for ")
    assert planned["logger"] == "speedtrap_bots.delivery.worker"
    assert (planned["channel"], planned["stage"]) == ("mail", "OPENING")
    assert planned["status"] == "PLANNED"
    (away, *_) = having(said, "cannot be reached")
    assert (away["level"], away["channel"]) == ("WARNING", "mail")
    assert away["retry_in_s"] > 0
    sent = having(said, " is SENT")[-1]
    assert sent["notice_id"] == notice["id"]
    assert sent["reference"] == planned["reference"]
    for secret in (road.service.keys["bot"], smtp.environment["SPEEDTRAP_BOTS_MAIL_PASSWORD"]):
        assert secret not in bot.log.read_text()


def test_a_start_that_fails_is_a_record_too(nursery: Nursery) -> None:
    asked = {"SPEEDTRAP_BOTS_LOG_FORMAT": "json", "SPEEDTRAP_BOTS_GRAPH_URL": "graph:8000"}
    done = nursery.run("run", "--once", environment=asked)
    assert done.returncode == 2
    (record,) = records(done.stderr)
    assert (record["level"], record["logger"]) == ("CRITICAL", "speedtrap_bots.cli")
    assert record["message"].startswith("SPEEDTRAP_BOTS_GRAPH_URL: must start with")


@pytest.mark.parametrize("name", ["SPEEDTRAP_BOTS_LOG_LEVEL", "SPEEDTRAP_LOG_LEVEL"])
def test_text_is_for_people_and_the_level_has_an_older_name_too(
    name: str, nursery: Nursery, road: Road
) -> None:
    asked = {
        name: "debug",
        "SPEEDTRAP_BOTS_GRAPH_URL": road.service.base_url,
        "SPEEDTRAP_BOTS_KEY": road.service.keys["bot"],
    }
    done = nursery.run("run", "--once", "--channel", "mail", environment=asked)
    assert done.returncode == 0
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} DEBUG asyncio: "
    assert re.match(line, done.stderr), done.stderr
