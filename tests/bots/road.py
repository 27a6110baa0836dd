"""graph and bots as processes, and what a person does between them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.mongo import Mongod
from tests.lab.nursery import NOTICES as NOTICES_APP
from tests.lab.nursery import Nursery, forked_service
from tests.lab.runs import SUBMIT
from tests.lab.service import Service

DEADLINE_S = 120.0
"""Generous: on a busy machine a bot takes half a minute to start."""

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

    nursery: Nursery
    environment: dict[str, str]
    log: Path
    arguments: tuple[str, ...] = ()
    pid: int = 0

    def start(self) -> None:
        self.pid = self.nursery.start(
            "run",
            *self.arguments,
            environment=self.environment,
            stdout=self.log,
            stderr=self.log,
        )

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        os.kill(self.pid, how)
        return self.wait()

    def wait(self) -> int:
        return self.nursery.wait(self.pid)


@dataclass
class Road:
    """graph with a plan, and the bots that serve it."""

    service: Service
    mongod: Mongod
    database: str
    folder: Path
    nursery: Nursery
    bots: list[Bot] = field(default_factory=list)

    def submit(self, *runs: dict[str, Any]) -> None:
        result = self.service.query(SUBMIT, {"runs": list(runs)}, role="probe")["submitRuns"]
        assert len(result["accepted"]) == len(runs), result

    def bot(self, *arguments: str, **environment: str) -> Bot:
        bot = Bot(
            self.nursery,
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

    def once(self, channel: str, **environment: str) -> None:
        """What can be done now is done; as often as anything is left to do at once."""
        assert self.bot("--once", "--channel", channel, **environment).wait() == 0, self.bots[
            -1
        ].log.read_text()

    def command(self, *arguments: str) -> str:
        """`speedtrap notices`, as the admin; what it says."""
        environment = {
            "SPEEDTRAP_NOTICES_URL": self.service.base_url,
            "SPEEDTRAP_NOTICES_KEY": self.service.keys["admin"],
        }
        done = self.nursery.run(*arguments, environment=environment, app=NOTICES_APP)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def notices(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.service.query(NOTICES)["notices"]["nodes"]
        return nodes

    def statuses(self) -> set[tuple[str, str, str]]:
        return {(n["channel"], n["stage"], n["status"]) for n in self.notices()}

    def approve_all(self, *channels: str) -> None:
        """Of these channels, or of all."""
        for notice in self.notices():
            wanted = not channels or notice["channel"] in channels
            if wanted and notice["status"] == "PLANNED":
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

    def days_pass(self, days: float) -> None:
        """Plays days in which nothing happened: all that the ledger knows is so much older."""
        at = ("planned_at", "approved_at", "sent_at", "due_at", "counted_at", "held_back_at")
        older = {
            name: {"$cond": [{"$gt": [f"${name}", None]}, _before(f"${name}", days), None]}
            for name in at
        }
        steps = {
            "$map": {
                "input": "$steps",
                "in": {"$mergeObjects": ["$$this", {"at": _before("$$this.at", days)}]},
            }
        }
        with self.mongod.client() as client:
            client[self.database].notices.update_many({}, [{"$set": {**older, "steps": steps}}])

    def expire_leases(self) -> None:
        """Plays the minutes that a lease lasts: it runs by the database's clock."""
        with self.mongod.client() as client:
            client[self.database].notices.update_many(
                {"lease_until": {"$ne": None}},
                [{"$set": {"lease_until": {"$subtract": ["$$NOW", 1000]}}}],
            )


@contextmanager
def a_road(mongod: Mongod, database: str, folder: Path, nursery: Nursery) -> Iterator[Road]:
    with forked_service(nursery, mongod, database, folder / "graph") as service:
        road = Road(service, mongod, database, folder, nursery)
        service.query(SET_PLAN)
        try:
            yield road
        finally:
            for bot in road.bots:
                if nursery.ended(bot.pid) is None:
                    bot.end(signal.SIGKILL)


def _before(moment: str, days: float) -> dict[str, Any]:
    return {"$subtract": [moment, round(days * 86_400_000)]}
