"""The states that a page can be in, each set up once, and the scenes to be seen in them."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from playwright.sync_api import BrowserContext, Page, expect
from speedtrap_web import cli
from typer.testing import CliRunner

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit, submit_two_weeks
from tests.web.letters import a_letter_that_no_longer_holds, a_letter_told_in_a_digest, silence
from tests.web.serving import Passage, served_page

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
BERLIN = ZoneInfo("Europe/Berlin")
LONGER_DAY = datetime(2026, 10, 25, tzinfo=BERLIN).astimezone(UTC)
"""The start of the day on which Berlin's clocks go back: 25 hours long."""


@dataclass(frozen=True)
class Scene:
    """One page in one state; `path` may hold names of the stage's `things`.

    `shows` are words of that state alone: a page that has failed looks well, too.
    """

    name: str
    path: str
    shows: str
    stage: str = "lived-in"
    admin: bool = False


SCENES = (
    Scene("overview", "/", "Mostly, but not right now."),
    Scene("overview-24h", "/?range=24h", "the last 24 hours"),
    Scene("overview-1y", "/?range=1y", "the last year"),
    Scene("overview-latency", "/?range=7d&metric=latency", "Latency, ms"),
    Scene("overview-one-tool", "/?range=7d&metric=upload&tool=fast", "Upload, Mbps · fast"),
    Scene("overview-own-dates", "/?since={yesterday}&until={today}", "the days from"),
    Scene("runs", "/runs", "inconclusive"),
    Scene("runs-none", "/runs?outcome=INCONCLUSIVE", "No run matches."),
    Scene("run", "/runs/{run}", "Measurements"),
    Scene("run-failed", "/runs/{outage}", "Name or service not known"),
    Scene("breaches", "/breaches", "waits for approval"),
    Scene("breach", "/breaches/{breach}", "Its runs"),
    Scene("report", "/report", "Service report"),
    Scene("report-shared", "/shared/{shared}", "this link works until"),
    Scene("login", "/login", "With an admin key"),
    Scene("login-needed", "/login?why=needed", "Log in to go on."),
    Scene("not-found", "/nowhere", "There is no such page."),
    Scene("admin-overview", "/?range=7d", "Logged in as operator", admin=True),
    Scene("admin-run", "/runs/{run}", "Delete this run", admin=True),
    Scene("admin-breach", "/breaches/{breach}", "Approve and send", admin=True),
    Scene("admin-notice", "/notices/{notice}", "As the reader sees it", admin=True),
    Scene("admin-report", "/report", "A link without a login", admin=True),
    Scene("admin-rules", "/settings/rules", "Rules in force", admin=True),
    Scene("admin-rule", "/settings/rules?correct=*/DOWNLOAD", "Correct this rule", admin=True),
    Scene("admin-probes", "/settings/probes", "Who measures?", admin=True),
    Scene(
        "admin-sending",
        "/settings/sending",
        "The mail server does not take this password.",
        admin=True,
    ),
    Scene("admin-keeping", "/settings/keeping", "For ever", admin=True),
    Scene("admin-plan", "/settings/plan", "What do you pay for?", admin=True),
    Scene("several-probes", "/?probe=fine", "Yes, you get what you pay for.", stage="states"),
    Scene("silent", "/?probe=silent", "has been silent for", stage="states"),
    Scene("line-down", "/?probe=down", "The line was down at the last run", stage="states"),
    Scene("no-plan", "/?probe=planless", "No verdict without a plan.", stage="states"),
    Scene("too-few", "/?probe=few", "Too early to say.", stage="states"),
    Scene(
        "plan-changed", "/?probe=moved&range=7d", "The plan changed in this range", stage="states"
    ),
    Scene(
        "longer-day",
        "/?probe=berlin&since=2026-10-24&until=2026-10-26",
        "the days from Sat 24 Oct to Mon 26 Oct",
        stage="states",
    ),
    Scene("finding", "/?probe=odd", "One tool alone broke the rule", stage="states"),
    Scene("silenced", "/?probe=told", "A new modem comes on Friday.", stage="states"),
    Scene("breach-mistaken", "/breaches/{mistaken}", "Not right any more", stage="states"),
    Scene("breach-told", "/breaches/{told}", "Told instead in digest", stage="states"),
    Scene("run-deleted", "/runs/{deleted}", "This run was deleted.", stage="states"),
    Scene("breaches-of-all", "/breaches", "retracted", stage="states"),
    Scene("admin-mistake", "/notices/{mistake}", "no longer holds", stage="states", admin=True),
    Scene("admin-held", "/notices/{held}", "Told instead in digest", stage="states", admin=True),
    Scene("admin-digest", "/notices/{digest}", "that it tells of", stage="states", admin=True),
    Scene("first-start", "/", "Set the plan", stage="new"),
    Scene("waiting", "/", "The plan is set.", stage="planned"),
    Scene("stale", "/", "This is what was known", stage="away"),
    Scene("away", "/runs", "does not answer", stage="away"),
)


CHART_IS_SETTLED = """() => !document.querySelector("#chart")
  || document.querySelector("#chart").dataset.ready
  || document.querySelector("#chart-read").textContent"""
"""Drawn, or said to have no numbers."""

OPEN_ALL = "for (const part of document.querySelectorAll('details')) part.open = true"
TWO_FRAMES = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"

MAIN = (
    "overview", "runs", "run-failed", "breach", "report", "login", "admin-notice", "admin-rule",
    "admin-probes", "admin-sending", "admin-keeping", "admin-plan", "first-start", "plan-changed",
    "silent", "finding", "admin-digest", "admin-mistake", "away",
)  # fmt: skip
"""Scenes to be seen in every language."""


@dataclass
class Stage:
    """Where a state is served, what there is to see, an admin's session, and what must have
    happened within the last minute.
    """

    base_url: str
    things: Mapping[str, str] = field(default_factory=dict)
    cookie: str = ""
    just_now: Callable[[], None] = lambda: None

    def address(self, scene: Scene) -> str:
        return self.base_url + scene.path.format(**self.things)

    def enter(self, page: Page, scene: Scene, language: str = "en") -> None:
        """Opens the scene's page in the browser's language; with a chart, once it is drawn."""
        if scene.admin:
            log_in_quietly(page.context, self)
            self.just_now()
        page.goto(self.address(scene))
        expect(page.locator("html")).to_have_attribute("lang", language)
        if language == "en":
            expect(page.locator("body")).to_contain_text(scene.shows)
        page.wait_for_function(CHART_IS_SETTLED)


def log_in_quietly(context: BrowserContext, stage: Stage) -> None:
    context.add_cookies([{"name": "speedtrap", "value": stage.cookie, "url": stage.base_url}])


def session_cookie(base_url: str, key: str) -> str:
    answer = httpx.post(f"{base_url}/login", data={"key": key}, headers=SAME_SITE)
    return answer.cookies["speedtrap"]


@contextlib.contextmanager
def all_stages(mongod: Mongod, lived_in: Service, folder: Path) -> Iterator[dict[str, Stage]]:
    with contextlib.ExitStack() as stack:

        def fresh(name: str) -> Service:
            # A process each: within one, Beanie's documents are bound to one database.
            database = stack.enter_context(fresh_database(mongod))
            return stack.enter_context(
                running_service(
                    mongod, database, folder / name, with_web=True, SPEEDTRAP_WEB_LIVE_EVERY_S="600"
                )
            )

        with ThreadPoolExecutor() as pool:
            states, new, planned = pool.map(fresh, ("states", "new", "planned"))
        set_the_states(states)
        told = a_letter_that_no_longer_holds(states, "mistaken")
        told |= a_letter_told_in_a_digest(states, "told")
        silence(states, "told")
        silence_of_a_day(mongod, states)
        set_plan(planned)
        passage = stack.enter_context(Passage.to(lived_in.base_url))
        away = stack.enter_context(
            served_page(passage.url, key=lived_in.keys["viewer"], live_every_s=600)
        )
        httpx.get(away).raise_for_status()
        passage.mode = "away"
        yield {
            "lived-in": Stage(
                lived_in.base_url,
                things_of(lived_in),
                session_cookie(lived_in.base_url, lived_in.keys["admin"]),
                lambda: a_bot_reports(lived_in),
            ),
            "states": Stage(
                states.base_url, told, session_cookie(states.base_url, states.keys["admin"])
            ),
            "new": Stage(new.base_url, cookie=session_cookie(new.base_url, new.keys["admin"])),
            "planned": Stage(planned.base_url),
            "away": Stage(away),
        }


THINGS = """{
  breaches(status: [OPEN]) { nodes { id notices { id } } }
  newest: runs(first: 1) { nodes { id } }
  outages: runs(first: 1, outcomes: [OUTAGE]) { nodes { id } }
}"""


def things_of(lived_in: Service) -> dict[str, str]:
    data = lived_in.query(THINGS)
    (breach,) = data["breaches"]["nodes"]
    today = datetime.now(ZoneInfo("America/Denver")).date()
    return {
        "breach": breach["id"],
        "notice": breach["notices"][0]["id"],
        "run": data["newest"]["nodes"][0]["id"],
        "outage": data["outages"]["nodes"][0]["id"],
        "shared": shared_link(lived_in),
        "today": today.isoformat(),
        "yesterday": (today - timedelta(days=1)).isoformat(),
    }


def shared_link(service: Service) -> str:
    form = {"probe": "laptop", "month": f"{datetime.now(UTC):%Y-%m}", "days": "7"}
    with httpx.Client(base_url=service.base_url, headers=SAME_SITE) as client:
        client.post("/login", data={"key": service.keys["admin"]})
        page = client.post("/report/share", data=form).text
    found = re.search(r'/shared/([^"]+)"', page)
    assert found is not None
    return found[1]


def set_the_states(service: Service) -> None:
    """One probe a state; only `planless` has no plan."""
    for probe in ("fine", "silent", "down", "few", "moved"):
        set_plan(service, probe=probe)
    set_plan(service, probe="berlin", timeZone="Europe/Berlin")
    a_week_ago = datetime.now(UTC) - timedelta(hours=80)
    new_plan = {"provider": "Fabrikam Cable", "downloadMbps": 500, "uploadMbps": 50}
    set_plan(service, probe="moved", since=a_week_ago.isoformat(), **new_plan)
    runs = [a_full_run(h, 0.96, probe=p) for h in range(60, 0, -2) for p in ("fine", "silent")]
    runs += [a_full_run(h, 0.94, probe="down") for h in range(40, 2, -2)]
    runs += [a_full_run(h, None, line_up=False, probe="down") for h in (2, 1)]
    runs += [a_full_run(h, 0.9, probe="planless") for h in range(30, 0, -3)]
    runs += [a_full_run(h, 0.9, probe="few") for h in (3, 2, 1)]
    runs += [a_full_run(h, 0.95 if h > 80 else 0.5, probe="moved") for h in range(160, 0, -4)]
    runs += [
        a_full_run(0, 0.93, probe="berlin", started=LONGER_DAY + timedelta(hours=h))
        for h in range(-20, 44)
    ]
    set_plan(service, probe="odd")
    odd = [a_full_run(h, 0.96, probe="odd") for h in range(30, 0, -2)]
    for run in odd[-8:]:
        run["measurements"][2]["downloadMbps"] = 210.0
    submit(service, runs + odd, role="admin")


def silence_of_a_day(mongod: Mongod, service: Service) -> None:
    """Only time makes a probe silent: its mark is set back."""
    with mongod.client() as client:
        database = client[service.settings["SPEEDTRAP_GRAPH_DATABASE"]]
        seen = datetime.now(UTC) - timedelta(hours=26)
        database["probes"].update_one({"_id": "silent"}, {"$set": {"last_seen_at": seen}})


def trust(folder: Path) -> dict[str, str]:
    """The setting with which the page's key runs the page's own documents and nothing else, so
    that every test of the page shows that it does with them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "documents.json"
    file.write_text(CliRunner().invoke(cli.app, ["documents"]).output, encoding="utf-8")
    return {"SPEEDTRAP_GRAPH_TRUSTED_DOCUMENTS": str(file)}


A_CHANNEL = """mutation { reportChannel(
  channel: "mail", worker: "w1", state: STOPPED, recipient: "care@isp.example",
  why: "The mail server does not take this password."
) }"""


def a_bot_reports(service: Service) -> None:
    """Its word holds for a minute; after that the page says that it is gone."""
    service.query(A_CHANNEL, role="bot")


@contextlib.contextmanager
def lived_in_service(mongod: Mongod, folder: Path) -> Iterator[Service]:
    """Two weeks of hourly runs, an open breach and a complaint that waits."""
    with (
        fresh_database(mongod) as name,
        running_service(mongod, name, folder, with_web=True, **trust(folder)) as service,
    ):
        submit_two_weeks(service)
        plan_a_notice(service)
        a_bot_reports(service)
        service.query('mutation { sendTest(channel: "mail") { id } }')
        yield service
