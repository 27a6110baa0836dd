"""Many notices, several workers a channel, and everything goes wrong that can.

Workers are killed with SIGKILL and stopped with SIGSTOP for longer than their lease: at random
moments, and by both servers in the middle of each step. The servers know what they have kept; a
person looks there before deciding about a mail of unknown outcome.
"""

import math
import random
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tests.lab import faulty_smtp, x_api
from tests.lab.crew import Crew
from tests.lab.faulty_smtp import FaultySmtp
from tests.lab.mongo import Mongod, free_port
from tests.lab.nursery import a_nursery, forked_service
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service
from tests.lab.x_api import XApi

CLAIM_LEASE_S, SENDING_LEASE_S = 6.0, 12.0
STOPPED_S = SENDING_LEASE_S + 1
TIMEOUTS = {
    "SPEEDTRAP_BOTS_MAIL_PRELUDE_TIMEOUT_S": "2.5",
    "SPEEDTRAP_BOTS_MAIL_VERDICT_TIMEOUT_S": "2",
    "SPEEDTRAP_BOTS_TWITTER_REQUEST_TIMEOUT_S": "1.5",
}
CHECK_AFTER_S = 2.0
HIDDEN_FOR_S = 1.5
"""X shows a post to whoever looks up only after this: the second look is there for that."""
A_PERSON_WAITS_S = 4.0
PATIENCE_S = 60.0
_F = TypeVar("_F")
PIXEL = b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360f8cfc0f01f00050001ff56c71d"
        "0000000049454e44ae426082"
    )
).decode()
REFUSED_WORD = "unwelcome"
EVERY_OTHER_GOES_WELL: tuple[x_api.Fault, ...] = ("",) * 8
X_FAULTS: dict[x_api.Step, tuple[x_api.Fault, ...]] = {
    "upload": ("rate limited", "unavailable", "malformed", "redirect", "cut", "slow", "killed",
        "stopped", "no data", "killed after the post", "stopped after the post"),
    "metadata": ("unavailable", "cut", "slow", "killed", "stopped"),
    "post": ("rate limited", "rate limited today", "unavailable", "malformed", "redirect", "cut",
        "slow", "duplicate", "killed", "stopped", "internal error after the post",
        "cut after the post", "slow after the post", "late post", "no data",
        "garbage after the post", "killed after the post", "stopped after the post"),
    "me": ("unreadable", "cut", "slow", "no data", "killed", "stopped"),
    "timeline": ("unreadable", "cut", "malformed", "half a list", "no data",
        "garbage after the post", "killed", "stopped"),
}  # fmt: skip

SET_PLAN = (
    'mutation { setPlan(plan: {provider: "ISP", downloadMbps: 940, timeZone: "UTC"}) { id } }'
)
PLAN = "mutation($notice: NoticeInput!) { planNotice(notice: $notice) { id status } }"
BREACHES = """
query($after: String) { breaches(first: 100, after: $after) {
  nodes { id probe reference } pageInfo { hasNextPage endCursor } } }
"""
NOTICES = """
query($after: String, $status: [NoticeStatus!]) {
  notices(first: 100, after: $after, status: $status) {
    nodes { id channel recipient text status attempts externalReference steps { at status by why } }
    pageInfo { hasNextPage endCursor } } }
"""
RESOLVE = """
mutation($id: ID!, $arrived: Boolean!) {
  resolveNotice(id: $id, arrived: $arrived, reason: "looked into the mailbox") { id } }
"""


@dataclass(frozen=True)
class Scale:
    """`refused` of the notices of each channel are unwelcome for ever, beside the *notices*."""

    notices: int
    workers: int
    refused: int
    faults: float
    """How often every fault is met at its step; below 1, so large a share of them."""
    disturbances: int
    """At random moments, beside those in the middle of a conversation."""
    disturb_every_s: float
    deadline_s: float
    seed: int
    everything: bool = False
    """Whether graph and MongoDB are killed as well: then the mongod must be nobody else's."""


@dataclass
class Torture:
    """One run of it. `report` is what came out."""

    scale: Scale
    service: Service
    mongod: Mongod
    smtp: FaultySmtp
    x: XApi
    crews: dict[str, Crew]
    chance: random.Random
    recipients: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    restarted: int = 0
    sent_again: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        deadline = time.monotonic() + self.scale.deadline_s
        next_disturbance, left = time.monotonic() + 1, self.scale.disturbances
        while left or not self._over():
            if time.monotonic() > deadline:
                raise AssertionError(f"not over in time: {self._open()}")
            if left and time.monotonic() > next_disturbance:
                left -= 1
                self._disturb_somebody()
                next_disturbance = time.monotonic() + self.chance.uniform(
                    0, 2 * self.scale.disturb_every_s
                )
            # X takes a duplicate in one half of the time and refuses it in the other.
            self.x.refuses_duplicates = not self.x.refuses_duplicates
            self._decide_about_mail()
            time.sleep(0.5)
        # Whoever still sleeps wakes up late, and must do no harm then.
        while any(crew.anybody_asleep() for crew in self.crews.values()):
            time.sleep(0.2)
        time.sleep(1)

    def notices(self, *status: str) -> Iterator[dict[str, Any]]:
        after = None
        while True:
            variables = {"after": after, "status": list(status) or None}
            page = self._ask(NOTICES, variables)["data"]["notices"]
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def report(self) -> dict[str, int]:
        """What the servers have, against what was planned."""
        posts = Counter(post.text for post in self.x.posts)
        mails = Counter(recipient for recipient, _ in self.smtp.kept)
        allowed = {whom: 1 + self.sent_again[whom] for whom in self.recipients}
        return {
            "x_posts": len(self.x.posts),
            "x_lost": sum(1 for text in self.texts if not posts[text]),
            "x_doubled": sum(1 for text in self.texts if posts[text] > 1),
            "mail_lost": sum(1 for whom in self.recipients if not mails[whom]),
            "mail_doubled": sum(1 for whom, most in allowed.items() if mails[whom] > most),
            "mail_decided_by_a_person": sum(self.sent_again.values()),
            "refused_but_sent": sum(1 for text in posts if REFUSED_WORD in text)
            + sum(1 for whom in mails if whom not in allowed),
            "killed": sum(crew.killed for crew in self.crews.values()),
            "stopped": sum(crew.stopped for crew in self.crews.values()),
            "restarted": self.restarted,
            "smtp_faults": len(self.smtp.met),
            "x_faults": self.x.faults_met,
        }

    def disagreements(self) -> list[str]:
        """Where the ledger says something else than the servers."""
        found = []
        posts = {post.id: post.text for post in self.x.posts}
        for notice in self.notices():
            name = f"{notice['channel']} {notice['recipient']}"
            refused = REFUSED_WORD in name + notice["text"]
            if notice["status"] != ("DEAD" if refused else "SENT"):
                found.append(f"{name} is {notice['status']}")
            its_post = posts.get(notice["externalReference"])
            if notice["channel"] == "twitter" and not refused and its_post != notice["text"]:
                found.append(f"{name} is said to be post {notice['externalReference']}")
            if any(not step["by"] for step in notice["steps"]):
                found.append(f"{name} has a step by nobody")
        return found + [
            f"{name} lost {crew.lost()}" for name, crew in self.crews.items() if crew.lost()
        ]

    def _over(self) -> bool:
        return not any(
            self.notices("PLANNED", "APPROVED", "DUE", "CLAIMED", "SENDING", "UNKNOWN", "CHECKING")
        )

    def _open(self) -> list[str]:
        return [
            f"{n['channel']} {n['recipient']} {n['status']} {n['attempts']} {n['steps'][-1]['why']}"
            for n in self.notices()
            if n["status"] not in {"SENT", "DEAD"}
        ][:20]

    def _disturb_somebody(self) -> None:
        if self.scale.everything and self.chance.random() < 0.6:
            self._restart(self.chance.choice((self.service, self.mongod)))
            return
        crew = self.chance.choice(list(self.crews.values()))
        crew.disturb(self.chance.choice(crew.pids), self.chance.choice(("killed", "stopped")))

    def _restart(self, part: Service | Mongod) -> None:
        """As a power cut would."""
        self.restarted += 1
        part.kill()
        part.start()

    def _ask(self, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Asks again while graph finds its way back to a database that was killed."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.service.post(document, variables)
            codes = {error["extensions"].get("code") for error in answer.get("errors", ())}
            if codes != {"INTERNAL"} or time.monotonic() > deadline:
                return answer
            time.sleep(0.2)

    def _decide_about_mail(self) -> None:
        """As a person who looks into the mailbox; not at once, for it may still be coming in."""
        for notice in self.notices("UNKNOWN"):
            since = datetime.fromisoformat(notice["steps"][-1]["at"])
            waited_s = (datetime.now(UTC) - since).total_seconds()
            if notice["channel"] != "mail" or waited_s < A_PERSON_WAITS_S:
                continue
            arrived = self.smtp.copies(notice["recipient"]) > 0
            answer = self._ask(RESOLVE, {"id": notice["id"], "arrived": arrived})
            if "errors" not in answer and not arrived:
                self.sent_again[notice["recipient"]] += 1


@contextmanager
def a_torture(scale: Scale, mongod: Mongod, database: str, folder: Path) -> Iterator[Torture]:
    chance = random.Random(scale.seed)
    with ExitStack() as stack:
        nursery = stack.enter_context(a_nursery(folder))
        service = stack.enter_context(
            forked_service(
                nursery,
                mongod,
                database,
                folder / "graph",
                SPEEDTRAP_GRAPH_AUTO_APPROVE="mail,twitter",
                SPEEDTRAP_GRAPH_CLAIM_LEASE_SECONDS=str(CLAIM_LEASE_S),
                SPEEDTRAP_GRAPH_SENDING_LEASE_SECONDS=str(SENDING_LEASE_S),
                SPEEDTRAP_GRAPH_CHECK_AFTER_SECONDS=str(CHECK_AFTER_S),
            )
        )
        smtp = stack.enter_context(faulty_smtp.faulty_smtp(free_port()))
        x = stack.enter_context(x_api.x_api(folder, free_port()))
        environment = {
            "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
            "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
            "SPEEDTRAP_BOTS_POLL_SECONDS": "0.3",
            "SPEEDTRAP_BOTS_RETRY_SECONDS": "0.5,1,2",
            "SPEEDTRAP_BOTS_LOOK_AGAIN_SECONDS": "1",
            **smtp.environment,
            **TIMEOUTS,
            **x.environment,
        }
        script(scale, smtp, x, chance)
        recipients, texts = plan(scale, service, smtp)
        crews = {
            channel: Crew(
                nursery,
                ("run", "--channel", channel),
                environment,
                folder / f"{channel}.log",
                STOPPED_S,
            )
            for channel in ("mail", "twitter")
        }
        for crew in crews.values():
            crew.hire(scale.workers)
        smtp.disturb = crews["mail"].disturb_client
        x.disturb = crews["twitter"].disturb_client
        yield Torture(scale, service, mongod, smtp, x, crews, chance, recipients, texts)


def script(scale: Scale, smtp: FaultySmtp, x: XApi, chance: random.Random) -> None:
    """Every fault the same number of times, shuffled, with good conversations in between."""
    smtp.script = deque(_shuffled(faulty_smtp.every_fault(), scale.faults, chance))
    for step, names in X_FAULTS.items():
        x.script[step] = deque(_shuffled([*names, *EVERY_OTHER_GOES_WELL], scale.faults, chance))
    x.reset_at = int(time.time()) + 5
    x.hidden_for_s = HIDDEN_FOR_S
    x.page_size = 20
    x.forbidden_words = (REFUSED_WORD,)


def _shuffled(faults: list[_F], times: float, chance: random.Random) -> list[_F]:
    whole = faults * math.ceil(times)
    return chance.sample(whole, round(len(faults) * times))


def plan(scale: Scale, service: Service, smtp: FaultySmtp) -> tuple[list[str], list[str]]:
    """One breach a notice, each with a mail and a post. Who and what is to arrive."""
    service.query(SET_PLAN)
    total = scale.notices + scale.refused
    runs = [run for n in range(total) for run in slow_runs(6, probe=f"probe-{n}")]
    for first in range(0, len(runs), 60):
        service.query(SUBMIT, {"runs": runs[first : first + 60]})
    breaches: list[dict[str, str]] = []
    after = None
    while len(breaches) < total:
        page = service.query(BREACHES, {"after": after})["breaches"]
        breaches += page["nodes"]
        after = page["pageInfo"]["endCursor"]
    recipients, texts = [], []
    for n, breach in enumerate(breaches):
        refused = n >= scale.notices
        recipient = f"{REFUSED_WORD if refused else 'desk'}-{n}@isp.example"
        text = f"The line is slow. {REFUSED_WORD if refused else ''} {breach['reference']} & {n}"
        if refused:
            smtp.refuses_at[recipient] = ("RCPT", "DATA", "DOT")[n % 3]
        else:
            recipients.append(recipient)
            texts.append(text)
        lines = "\n".join(["Dear ISP,", "", ".", "..", *["please look."] * 8, text])
        mail = {"channel": "mail", "recipient": recipient, "subject": text, "text": lines}
        chart = {
            "name": "chart.png",
            "mediaType": "image/png",
            "altText": "a chart",
            "contentBase64": PIXEL,
        }
        post = {
            "channel": "twitter",
            "recipient": f"line-{n}",
            "text": text,
            "attachments": [chart],
        }
        for notice in (mail, post):
            whole = {**notice, "breach": breach["id"], "stage": "OPENING"}
            planned = service.query(PLAN, {"notice": whole}, role="bot")["planNotice"]
            assert planned["status"] == "DUE", planned
    return recipients, texts
