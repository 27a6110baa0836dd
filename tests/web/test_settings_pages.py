"""What an admin sets on the page, and what graph has of it afterwards."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from speedtrap_web.pages.plans import read_plan
from speedtrap_web.pages.rules import read_rule
from speedtrap_web.text.catalogue import EN

from tests.lab.service import Service
from tests.web.history import a_full_run, set_plan, submit
from tests.web.test_pages import SAME_SITE, text_of

PLANS = "{ plans { id probe provider downloadMbps uploadMbps timeZone since } }"
RULES = """{ probes { rules {
  id probe name metric tool belowRatio belowMbps aboveMs aboveRatio moreThan outOf onlyAtPeak
  recoveredAfter
} } }"""
REPORT_CHANNEL = """mutation($state: ChannelState!, $why: String) { reportChannel(
  channel: "mail", worker: "w1", state: $state, recipient: "me@home.example", why: $why
) }"""
CLAIM_TEST = 'mutation { claimTest(channel: "mail", worker: "w1") { id } }'
SETTLE_TEST = """mutation($id: ID!, $outcome: SettleOutcome!, $why: String) {
  settleTest(channel: "mail", id: $id, outcome: $outcome, why: $why) { id }
}"""
A_PLAN = {
    "provider": "Contoso Fibre",
    "download_mbps": "940",
    "upload_mbps": "",
    "time_zone": "America/Denver",
    "since": "",
    "probe": "",
    "moment": "",
}
A_RULE = {
    "metric": "DOWNLOAD",
    "bound": "50",
    "unit": "ratio",
    "more_than": "5",
    "out_of": "",
    "recovered_after": "1",
    "probe": "",
    "tool": "",
    "name": "",
    "only_at_peak": "",
}


@pytest.fixture
def admin(empty: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=30) as client:
        client.post("/login", data={"key": empty.keys["admin"]})
        yield client


def form_of(page: str) -> dict[str, str]:
    """The values that a page's form holds."""
    inputs = re.findall(r'<input[^>]* name="(\w+)" value="([^"]*)"', page)
    chosen = re.findall(r'<select[^>]* name="(\w+)">(.*?)</select>', page, re.DOTALL)
    selects = {
        name: (re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', options) or ["", "", ""])
        for name, options in chosen
    }
    return {**dict(inputs), **{name: found[1] or found[2] for name, found in selects.items()}}


def test_plans_follow_each_other(admin: httpx.Client, empty: Service) -> None:
    assert admin.post("/settings/plan", data=A_PLAN).headers["location"] == "/?done=plan"
    admin.post("/settings/plan", data={**A_PLAN, "download_mbps": "500", "since": "2026-11-01"})
    newest, oldest = empty.query(PLANS)["plans"]
    assert (newest["downloadMbps"], newest["since"]) == (500, "2026-11-01T06:00:00.000Z")
    assert oldest["downloadMbps"] == 940
    text = text_of(admin.get("/settings/plan"))
    assert "From Sun 1 Nov 2026, 00:00, America/Denver" in text
    assert "From the first run on, America/Denver" in text


def test_a_plan_is_corrected_and_not_doubled(admin: httpx.Client, empty: Service) -> None:
    """Also one that began in the middle of a day."""
    set_plan(empty, since="2026-10-05T09:30:00Z", uploadMbps=None)
    (plan,) = empty.query(PLANS)["plans"]
    page = admin.get("/settings/plan", params={"correct": plan["id"]})
    assert "Correct this plan" in text_of(page)
    given = form_of(page.text)
    assert (given["download_mbps"], given["since"]) == ("940", "2026-10-05")
    admin.post("/settings/plan", data={**given, "download_mbps": "880.5"})
    (corrected,) = empty.query(PLANS)["plans"]
    assert corrected == {**plan, "downloadMbps": 880.5}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, {"belowRatio": 0.5, "moreThan": 5}),
        ({"bound": "400", "unit": "mbps"}, {"belowMbps": 400, "belowRatio": None}),
        ({"more_than": "3", "out_of": "10"}, {"moreThan": 3, "outOf": 10}),
        ({"metric": "LATENCY", "bound": "60,5", "unit": "ms"}, {"aboveMs": 60.5}),
        ({"metric": "PACKET_LOSS", "bound": "2"}, {"aboveRatio": 0.02, "belowRatio": None}),
        ({"only_at_peak": "yes", "recovered_after": "2"}, {"onlyAtPeak": True}),
        ({"name": "by-ookla", "tool": "ookla"}, {"name": "by-ookla", "tool": "ookla"}),
        ({"probe": "laptop"}, {"id": "laptop/DOWNLOAD", "probe": "laptop"}),
    ],
)
def test_every_kind_of_rule_is_set_corrected_and_deleted(
    admin: httpx.Client, empty: Service, changes: dict[str, str], rule: dict[str, Any]
) -> None:
    submit(empty, [a_full_run(1, 0.9)])
    usual = the_rules(empty)
    done = admin.post("/settings/rules", data={**A_RULE, **changes})
    assert done.headers["location"] == "/settings/rules?done=rule"
    metric = changes.get("metric", "DOWNLOAD")
    found = next(
        each
        for each in the_rules(empty)
        if each["metric"] == metric and each["name"] == changes.get("name", "")
    )
    assert {name: found[name] for name in rule} == rule
    page = admin.get("/settings/rules", params={"correct": found["id"]})
    given = form_of(page.text)
    assert given["bound"].replace(".", ",") == changes.get("bound", "50")
    checked = {"only_at_peak": "yes"} if found["onlyAtPeak"] else {"only_at_peak": ""}
    admin.post("/settings/rules", data={**given, **checked, "recovered_after": "3"})
    assert {**found, "recoveredAfter": 3} in the_rules(empty)
    gone = admin.post("/settings/rules/delete", data={"id": found["id"]})
    assert gone.headers["location"].endswith("?done=rule_deleted")
    assert the_rules(empty) == usual


def test_a_look_ahead_says_what_a_rule_or_plan_would_change_and_changes_nothing(
    admin: httpx.Client, empty: Service
) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(hours_ago, 0.6) for hours_ago in range(9, 0, -1)])
    rules, plans = the_rules(empty), empty.query(PLANS)
    look = admin.post("/settings/rules", data={**A_RULE, "bound": "70", "look": "yes"})
    text = text_of(look)
    assert look.status_code == 200
    assert "9 runs would be judged again." in text
    assert "1 breach would appear. 1 of them is news: a notice would be written." in text
    assert re.search(r"New, laptop: from .*, 9 runs\.", text)
    assert form_of(look.text)["bound"] == "70"
    same = text_of(admin.post("/settings/rules", data={**A_RULE, "look": "yes"}))
    assert "No run and no breach would count differently." in same
    plan = {**A_PLAN, "download_mbps": "2000", "look": "yes"}
    assert "1 breach would appear." in text_of(admin.post("/settings/plan", data=plan))
    assert (the_rules(empty), empty.query(PLANS)) == (rules, plans)


def the_rules(service: Service) -> list[dict[str, Any]]:
    (probe,) = service.query(RULES)["probes"]
    return list(probe["rules"])


def test_the_usual_rule_stays(admin: httpx.Client, empty: Service) -> None:
    submit(empty, [a_full_run(1, 0.9)])
    answer = admin.post("/settings/rules/delete", data={"id": "*/DOWNLOAD"}, follow_redirects=True)
    assert "That is the usual rule" in text_of(answer)
    assert "more than 5 runs in a row below 50" in text_of(answer)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bound": "half"}, "bound"),
        ({"bound": "0"}, "bound"),
        ({"bound": "150"}, "bound"),
        ({"unit": "ms"}, "bound"),
        ({"more_than": "many"}, "more_than"),
        ({"more_than": "5", "out_of": "5"}, "out_of"),
        ({"tool": "lan", "name": "x"}, "tool"),
        ({"tool": "ookla"}, "name"),
        ({"name": "No Spaces"}, "name"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_beside_its_field(
    admin: httpx.Client, changes: dict[str, str], field: str
) -> None:
    answer = admin.post("/settings/rules", data={**A_RULE, **changes})
    assert answer.status_code == 400
    assert f'id="{field}-problem"' in answer.text


def test_sending_is_switched_off_with_a_reason(admin: httpx.Client, empty: Service) -> None:
    assert admin.post("/settings/sending", data={"on": "no", "reason": ""}).status_code == 400
    admin.post("/settings/sending", data={"on": "no", "reason": "We are moving house"})
    switch = empty.query("{ sending { on by reason } }")["sending"]
    assert switch == {"on": False, "by": "operator", "reason": "We are moving house"}
    text = text_of(admin.get("/settings/sending"))
    assert "Nothing leaves through any channel" in text
    assert "We are moving house" in text
    admin.post("/settings/sending", data={"on": "yes", "reason": "Settled"})
    assert empty.query("{ sending { on } }")["sending"]["on"]


def test_the_probes_are_listed_with_what_each_does(admin: httpx.Client, empty: Service) -> None:
    submit(empty, [a_full_run(1, 0.9)])
    submit(empty, [a_full_run(1, None, line_up=False, probe="attic")], role="admin")
    text = text_of(admin.get("/settings/probes"))
    assert re.search(r"attic ✖ line down No plan set", text)
    assert re.search(r"laptop ✓ measuring", text)
    assert "speedtrap keys add NAME --role probe" in text
    assert not any(key in text for key in empty.keys.values())


def test_a_channel_says_how_it_is_and_how_its_test_ended(
    admin: httpx.Client, empty: Service
) -> None:
    assert "No bot has been heard of yet." in text_of(admin.get("/settings/sending"))
    refused = admin.post("/settings/sending/test", data={"channel": "pigeon"})
    assert refused.status_code == 400
    empty.query(REPORT_CHANNEL, {"state": "READY"}, role="bot")
    text = text_of(admin.get("/settings/sending"))
    assert "Mail ✓ ready" in text
    assert "Sends to me@home.example" in text
    done = admin.post("/settings/sending/test", data={"channel": "mail"})
    assert done.headers["location"] == "/settings/sending?done=test"
    assert "waits for a bot." in text_of(admin.get("/settings/sending"))
    claim = empty.query(CLAIM_TEST, role="bot")["claimTest"]
    settled = {"id": claim["id"], "outcome": "REFUSED", "why": "550 no such person"}
    empty.query(SETTLE_TEST, settled, role="bot")
    text = text_of(admin.get("/settings/sending"))
    assert re.search(r"Test by operator, .*: failed. 550 no such person", text)
    empty.query(REPORT_CHANNEL, {"state": "STOPPED", "why": "The account is closed."}, role="bot")
    assert "✖ stopped The account is closed." in text_of(admin.get("/settings/sending"))


def test_keys_are_listed_with_when_they_were_used_and_never_shown(
    admin: httpx.Client, empty: Service
) -> None:
    page = admin.get("/settings/probes")
    text = text_of(page)
    assert "May Last used" in text
    may = {"probe": "submit its runs", "bot": "send notices", "admin": "everything"}
    for role, what in may.items():
        name = empty.query("{ me { name } }", role=role)["me"]["name"]
        assert f"{name} {what}" in text
    assert "page read" in text
    for role in ("probe", "viewer", "bot", "admin"):
        assert empty.keys[role] not in page.text


def test_how_long_runs_are_kept_is_set_and_refused_by_name(
    admin: httpx.Client, empty: Service
) -> None:
    assert "For ever." in text_of(admin.get("/settings/keeping"))
    for days, complaint in (("7", "90"), ("many", "whole number"), ("-1", "whole number")):
        refused = admin.post("/settings/keeping", data={"days": days})
        assert refused.status_code == 400
        assert complaint in text_of(refused)
        assert form_of(refused.text)["days"] == days
    done = admin.post("/settings/keeping", data={"days": "400"})
    assert done.headers["location"] == "/settings/keeping?done=keeping"
    assert "For 400 days. By operator" in text_of(admin.get("/settings/keeping"))
    assert empty.query("{ retention { days } }")["retention"]["days"] == 400
    admin.post("/settings/keeping", data={"days": ""})
    assert empty.query("{ retention { days } }")["retention"]["days"] is None


def test_a_probe_is_deleted_once_its_name_was_typed(admin: httpx.Client, empty: Service) -> None:
    submit(empty, [a_full_run(1, 0.9)])
    (probe,) = empty.query("{ probes { name } }")["probes"]
    sold = {"name": probe["name"], "typed": probe["name"], "reason": "Sold"}
    for changes, complaint in (
        ({"typed": "laptob"}, "The name that you typed is another one."),
        ({"reason": ""}, "Give a reason."),
        ({"name": "nobody", "typed": "nobody"}, "nobody"),
    ):
        given = {**sold, **changes}
        refused = admin.post("/settings/probes/delete", data=given)
        assert refused.status_code == 400
        assert complaint in text_of(refused)
        assert empty.query("{ probes { name } }")["probes"] == [probe]
        # What was filled in is still there, and the complaint belongs to its field.
        if "name" not in changes:
            (field,) = changes
            entry = (
                rf'<input [^>]*name="{field}"[^>]*aria-invalid="true" aria-describedby="([^"]+)"'
            )
            tied = re.search(entry, refused.text)
            assert tied is not None
            assert f'id="{tied[1]}" role="alert"' in refused.text
            for name in ("typed", "reason"):
                kept = rf'name="{name}" [^>]*value="{given[name]}"'
                assert re.search(kept, refused.text)
    done = admin.post("/settings/probes/delete", data=sold)
    assert done.headers["location"] == "/settings/keeping?done=probe_deleted"
    assert empty.query("{ probes { name } }")["probes"] == []
    text = text_of(admin.get("/settings/keeping"))
    assert re.search(rf"{probe['name']} By operator, .*: Sold", text)


@pytest.mark.parametrize(
    "path",
    ["rules", "rules/delete", "sending", "plan", "sending/test", "keeping", "probes/delete"],
)
def test_settings_change_nothing_without_a_login(empty: Service, path: str) -> None:
    answer = httpx.post(f"{empty.base_url}/settings/{path}", data={}, headers=SAME_SITE)
    assert answer.headers["location"].startswith("/login?why=needed")


@pytest.mark.parametrize("path", ["rules", "probes", "sending", "keeping"])
def test_settings_are_for_admins(empty: Service, path: str) -> None:
    answer = httpx.get(f"{empty.base_url}/settings/{path}")
    assert answer.headers["location"].startswith("/login?why=needed")


def test_the_start_of_a_plan_is_midnight_on_its_own_clock() -> None:
    """Also on a day on which the clocks go back."""
    plan, problems = read_plan({**A_PLAN, "since": "2026-10-25", "time_zone": "Europe/Berlin"}, EN)
    assert problems == {}
    assert datetime.fromisoformat(plan["since"]).isoformat() == "2026-10-25T00:00:00+02:00"


def test_a_forms_rubbish_is_no_rule() -> None:
    rule, problems = read_rule({**A_RULE, "metric": "<b>", "unit": "x", "more_than": "٣"}, EN)
    assert rule["metric"] == "DOWNLOAD"
    assert set(problems) == {"more_than"}
