"""The bots' whole road against the real graph, SMTP and X: planned, approved, sent once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service
from tests.lab.smtp import SmtpServer
from tests.lab.x_api import XApi

DEADLINE_S = 120.0
"""Generous: on a busy machine a bot takes half a minute to start."""
MAIN = "from speedtrap_bots.cli import main; main()"

pytestmark = pytest.mark.timeout(500)

SET_PLAN = """
mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, uploadMbps: 35,
                          timeZone: "America/Denver"}) { id } }
"""
NOTICES = """
{ notices { nodes { id stage channel recipient status digest attempts externalReference dueAt
                    subject text steps { status by why } } } }
"""
APPROVE = "mutation($id: ID!, $digest: String!) { approveNotice(id: $id, digest: $digest) { id } }"


@dataclass
class Bot:
    """A bot process, configured by its environment alone."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    arguments: tuple[str, ...] = ()

    def start(self) -> None:
        clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", *self.arguments],
                env={**clean, **self.environment},
                stdout=log,
                stderr=log,
            )

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=DEADLINE_S)


@dataclass
class Road:
    """graph with a plan, and the bots that serve it."""

    service: Service
    mongod: Mongod
    database: str
    folder: Path
    bots: list[Bot] = field(default_factory=list)

    def submit(self, *runs: dict[str, Any]) -> None:
        result = self.service.query(SUBMIT, {"runs": list(runs)}, role="probe")["submitRuns"]
        assert len(result["accepted"]) == len(runs), result

    def bot(self, *arguments: str, **environment: str) -> Bot:
        bot = Bot(
            {
                "SPEEDTRAP_BOTS_GRAPH_URL": self.service.base_url,
                "SPEEDTRAP_BOTS_KEY": self.service.keys["bot"],
                "SPEEDTRAP_BOTS_POLL_SECONDS": "0.1",
                **environment,
            },
            self.folder / f"bot-{len(self.bots)}.log",
            arguments=arguments,
        )
        self.bots.append(bot)
        bot.start()
        return bot

    def notices(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.service.query(NOTICES)["notices"]["nodes"]
        return nodes

    def statuses(self) -> set[tuple[str, str, str]]:
        return {(n["channel"], n["stage"], n["status"]) for n in self.notices()}

    def approve_all(self) -> None:
        for notice in self.notices():
            if notice["status"] == "PLANNED":
                self.service.query(APPROVE, {"id": notice["id"], "digest": notice["digest"]})

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(bot.log.read_text()[-2000:] for bot in self.bots)
                pytest.fail(f"{what}: {self.notices()}\n{logs}")
            time.sleep(0.05)

    def wait_for(self, *statuses: tuple[str, str, str]) -> None:
        self.wait(f"waiting for {statuses}", lambda: self.statuses() >= set(statuses))

    def expire_leases(self) -> None:
        """Plays the minutes that a lease lasts: it runs by the database's clock."""
        with self.mongod.client() as client:
            client[self.database].notices.update_many(
                {"lease_until": {"$ne": None}},
                [{"$set": {"lease_until": {"$subtract": ["$$NOW", 1000]}}}],
            )


@contextmanager
def a_road(mongod: Mongod, database: str, folder: Path) -> Iterator[Road]:
    with running_service(mongod, database, folder / "graph") as service:
        road = Road(service, mongod, database, folder)
        service.query(SET_PLAN)
        try:
            yield road
        finally:
            for bot in road.bots:
                if bot.process and bot.process.poll() is None:
                    bot.process.kill()
                    bot.process.wait()


@pytest.fixture
def road(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Road]:
    with a_road(mongod, database_name, tmp_path) as made:
        yield made


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
        assert bot.process is not None
        assert bot.process.wait(timeout=DEADLINE_S) == 0, bot.log.read_text()
    assert road.statuses() == {("mail", "OPENING", "PLANNED")}
    road.approve_all()
    last = road.bot("--channel", "mail", "--once", **smtp.environment)
    assert last.process is not None
    assert last.process.wait(timeout=DEADLINE_S) == 0, last.log.read_text()
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
    assert again.process is not None
    assert again.process.wait(timeout=DEADLINE_S) == 0
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


def test_a_wrong_password_stops_sending_and_shows_no_secret(road: Road, smtp: SmtpServer) -> None:
    wrong = {**smtp.environment, "SPEEDTRAP_BOTS_MAIL_PASSWORD": "planted-wrong-password"}
    road.submit(*slow_runs(6))
    bot = road.bot("--channel", "mail", SPEEDTRAP_LOG_LEVEL="DEBUG", **wrong)
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
