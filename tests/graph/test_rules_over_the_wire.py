"""Every kind of rule, what a change of one would do and did, as somebody with a key sees it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.runs import SUBMIT
from tests.lab.service import Service, running_service
from tests.lab.wire import APPROVE, PLAN_NOTICE

SET_PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
SET_RULE = "mutation($rule: RuleInput!) { setRule(rule: $rule) { id name tool outOf onlyAtPeak } }"
DELETE_RULE = "mutation($id: ID!) { deleteRule(id: $id) }"
REJUDGE = "mutation($probe: String) { rejudge(probe: $probe) }"
BREACHES = """
query($probe: String!) {
  breaches(probe: $probe) { nodes {
    id status count firstRunAt resolvedAt stale medianMbps rule { id metric name tool }
    notices { status contradictedAt contradictedWhy steps { status why } }
  } }
}
"""
RUNS_OF_A_BREACH = "query($id: ID!) { breach(id: $id) { runs { startedAt } } }"
PREVIEW = """
query($plan: PlanInput, $rule: RuleInput, $deleteRule: ID) {
  rejudgePreview(plan: $plan, rule: $rule, deleteRule: $deleteRule) {
    probes runs runsChanged appearing vanishing changing
    changes {
      kind probe wouldBeAnnounced rule { id metric } before { id reference status count }
      after { status count firstRunAt resolvedAt median }
      withdrawn { id status } contradicted { id status }
    }
  }
}
"""
FINDINGS = """
query($probe: String!) {
  findings(probe: $probe) {
    probe tool metric since lastRunAt endedAt count median rule { id moreThan }
    others { tool n median }
  }
}
"""
CLAIM = 'mutation { claimNotice(channel: "mail", worker: "w") { fence notice { id } } }'
BEGIN = "mutation($id: ID!, $fence: Int!) { beginSending(id: $id, fence: $fence) }"
SETTLE = """
mutation($id: ID!, $fence: Int!) {
  settleNotice(id: $id, fence: $fence, outcome: SENT, reference: "250 ok") { status }
}
"""


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        fresh_database(mongod) as database,
        running_service(mongod, database, tmp_path_factory.mktemp("service")) as running,
    ):
        yield running


class Line:
    """A probe of its own with a plan of 1000 over 100 Mbps, and one run an hour up to now."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.probe = f"line-{uuid4().hex[:8]}"
        service.query(SET_PLAN, {"plan": self.plan()})

    def plan(self, **changes: Any) -> dict[str, Any]:
        return {
            "probe": self.probe, "provider": "ISP", "downloadMbps": 1000, "uploadMbps": 100,
            "timeZone": "UTC", **changes,
        }  # fmt: skip

    def rule(self, **fields: Any) -> dict[str, Any]:
        return {"probe": self.probe, **fields}

    def obeys(self, **fields: Any) -> dict[str, Any]:
        found = self.service.query(SET_RULE, {"rule": self.rule(**fields)})
        answer: dict[str, Any] = found["setRule"]
        return answer

    def says(self, *rounds: dict[str, dict[str, float]], ends: datetime | None = None) -> None:
        """Tools' figures, run by run; the last one an hour before *ends*, or now."""
        last = ends or datetime.now(UTC)
        runs = [
            self._run(last - timedelta(hours=len(rounds) - place), tools)
            for place, tools in enumerate(rounds)
        ]
        told = self.service.query(SUBMIT, {"runs": runs})["submitRuns"]
        assert len(told["accepted"]) == len(rounds), told["rejected"]

    def _run(self, at: datetime, tools: dict[str, dict[str, float]]) -> dict[str, Any]:
        moment = at.isoformat()
        return {
            "id": str(uuid4()),
            "probe": self.probe,
            "startedAt": moment,
            "finishedAt": moment,
            "conditions": {"lineUp": True},
            "measurements": [
                {"tool": tool, "startedAt": moment, "durationS": 9, **figures}
                for tool, figures in tools.items()
            ],
        }

    def breaches(self, status: str | None = None) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.service.query(BREACHES, {"probe": self.probe})[
            "breaches"
        ]["nodes"]
        return [
            node
            for node in nodes
            if node["status"] == status or (status is None and node["status"] != "RETRACTED")
        ]

    def preview(self, **what: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.service.query(PREVIEW, what)["rejudgePreview"]
        return found

    def letter(self, *, sent: bool) -> str:
        """A letter about the open breach that has leave, or has arrived."""
        (breach,) = self.breaches("OPEN")
        notice = {
            "breach": breach["id"], "stage": "OPENING", "channel": "mail",
            "recipient": f"{self.probe}@isp.example", "subject": "Slow", "text": "Dear",
        }  # fmt: skip
        planned = self.service.query(PLAN_NOTICE, {"notice": notice}, "bot")["planNotice"]
        leave = {"id": planned["id"], "digest": planned["digest"]}
        self.service.query(APPROVE, leave)
        if sent:
            claim = self.service.query(CLAIM, role="bot")["claimNotice"]
            fence = {"id": claim["notice"]["id"], "fence": claim["fence"]}
            assert fence["id"] == planned["id"]
            assert self.service.query(BEGIN, fence, "bot")["beginSending"]
            self.service.query(SETTLE, fence, "bot")
        return str(planned["id"])


@pytest.fixture
def line(service: Service) -> Line:
    return Line(service)


def best(**figures: float) -> dict[str, dict[str, float]]:
    return {"ookla": {"downloadMbps": 900, **figures}}


SLOW, GOOD = best(downloadMbps=120), best()


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ({"metric": "DOWNLOAD", "belowRatio": 0.8}, {"downloadMbps": 790}, {"downloadMbps": 810}),
        ({"metric": "DOWNLOAD", "belowMbps": 300}, {"downloadMbps": 299}, {"downloadMbps": 300}),
        ({"metric": "UPLOAD", "belowRatio": 0.5}, {"uploadMbps": 49}, {"uploadMbps": 50}),
        ({"metric": "UPLOAD", "belowMbps": 20}, {"uploadMbps": 19}, {"uploadMbps": 21}),
        ({"metric": "LATENCY", "aboveMs": 40}, {"latencyMs": 41}, {"latencyMs": 40}),
        ({"metric": "JITTER", "aboveMs": 5}, {"jitterMs": 6}, {"jitterMs": 0}),
        (
            {"metric": "LOADED_LATENCY_DOWN", "aboveMs": 200},
            {"loadedLatencyDownMs": 500},
            {"loadedLatencyDownMs": 90},
        ),
        (
            {"metric": "LOADED_LATENCY_UP", "aboveMs": 200},
            {"loadedLatencyUpMs": 500},
            {"loadedLatencyUpMs": 90},
        ),
        (
            {"metric": "PACKET_LOSS", "aboveRatio": 0.02},
            {"packetLossRatio": 0.03},
            {"packetLossRatio": 0},
        ),
    ],
)
def test_a_rule_may_be_on_any_figure_absolute_or_of_the_plan(
    line: Line, rule: dict[str, Any], bad: dict[str, float], good: dict[str, float]
) -> None:
    line.obeys(**rule, moreThan=2)
    line.says(best(**good), best(**bad), best(**bad))
    assert line.breaches() == []
    line.says(best(**bad), ends=datetime.now(UTC) + timedelta(minutes=30))
    (breach,) = line.breaches()
    assert (breach["rule"]["metric"], breach["count"]) == (rule["metric"], 3)


def test_four_of_the_last_six_open_a_breach_that_three_in_a_row_would_not(line: Line) -> None:
    assert line.obeys(belowRatio=0.5, moreThan=3, outOf=6)["outOf"] == 6
    line.says(SLOW, GOOD, SLOW, GOOD, SLOW)
    assert line.breaches() == []
    line.says(SLOW, ends=datetime.now(UTC) + timedelta(minutes=30))
    (breach,) = line.breaches()
    assert (breach["status"], breach["count"]) == ("OPEN", 4)


def test_a_rule_for_the_peak_hears_weekday_evenings_only(line: Line) -> None:
    assert line.obeys(belowRatio=0.5, moreThan=2, onlyAtPeak=True)["onlyAtPeak"]
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    line.says(*[SLOW] * 48, ends=monday)  # Saturday and Sunday
    line.says(*[SLOW] * 24, ends=monday + timedelta(days=1))
    (breach,) = line.breaches()
    assert (breach["count"], breach["firstRunAt"]) == (4, "2026-03-02T19:00:00.000Z")
    line.says(*[SLOW] * 24, ends=monday + timedelta(days=2))
    (breach,) = line.breaches()
    listed = line.service.query(RUNS_OF_A_BREACH, {"id": breach["id"]})["breach"]["runs"]
    assert breach["count"] == 8
    assert [run["startedAt"][11:13] for run in listed] == ["19", "20", "21", "22"] * 2


def test_a_rule_for_one_tool_stands_beside_the_main_one(line: Line) -> None:
    rule = line.obeys(belowRatio=0.5, moreThan=2, name="fast-com", tool="fast")
    assert (rule["id"], rule["tool"]) == (f"{line.probe}/DOWNLOAD/fast-com", "fast")
    mixed = {"ookla": {"downloadMbps": 900.0}, "fast": {"downloadMbps": 100.0}}
    line.says(*[mixed] * 3, GOOD)
    (breach,) = line.breaches()
    assert (breach["rule"]["name"], breach["rule"]["tool"]) == ("fast-com", "fast")
    assert (breach["count"], breach["medianMbps"], breach["status"]) == (3, 100, "OPEN")


def test_the_default_is_the_users_and_a_probes_own_rule_comes_first(service: Service) -> None:
    of_all = {"rule": {"metric": "LATENCY", "aboveMs": 30, "moreThan": 0, "name": "house"}}
    default = service.query(SET_RULE, of_all)["setRule"]["id"]
    assert default == "*/LATENCY/house"
    line, other = Line(service), Line(service)
    other.obeys(metric="LATENCY", aboveMs=90, moreThan=0, name="house")
    for each in (line, other):
        each.says(best(latencyMs=50))
    assert [len(each.breaches()) for each in (line, other)] == [1, 0]
    assert service.query(DELETE_RULE, {"id": default})["deleteRule"]
    assert line.breaches() == []


def test_a_deleted_rule_takes_its_breaches_back_and_the_default_holds_again(line: Line) -> None:
    rule = line.obeys(belowRatio=0.95, moreThan=2)
    line.says(*[GOOD] * 4)
    assert len(line.breaches()) == 1
    assert line.service.query(DELETE_RULE, {"id": rule["id"]})["deleteRule"]
    assert line.breaches() == []
    assert not line.service.query(DELETE_RULE, {"id": rule["id"]})["deleteRule"]


def test_judging_again_without_a_change_changes_nothing(line: Line) -> None:
    line.says(*[SLOW] * 7)
    before = line.breaches()
    assert line.service.query(REJUDGE, {"probe": line.probe})["rejudge"] == [line.probe]
    assert line.breaches() == before


# What a change would do


def test_a_preview_says_what_a_cheaper_plan_would_take_back_and_takes_nothing(line: Line) -> None:
    line.says(*[SLOW] * 7)
    before = line.breaches()
    cheaper = line.plan(downloadMbps=200)
    found = line.preview(plan=cheaper)
    assert {name: found[name] for name in ("probes", "runs", "runsChanged")} == {
        "probes": 1,
        "runs": 7,
        "runsChanged": 0,
    }
    assert (found["appearing"], found["vanishing"], found["changing"]) == (0, 1, 0)
    (change,) = found["changes"]
    assert (change["kind"], change["before"]["id"]) == ("VANISHES", before[0]["id"])
    assert change["after"] is None
    assert line.breaches() == before

    line.service.query(SET_PLAN, {"plan": cheaper})
    assert line.breaches() == []


def test_a_preview_says_what_a_stricter_rule_would_find_and_whether_it_would_be_news(
    line: Line,
) -> None:
    fair = best(downloadMbps=700)
    line.says(*[fair] * 7, best(downloadMbps=950), *[fair] * 8)
    stricter = line.rule(belowRatio=0.8)
    found = line.preview(rule=stricter)
    assert (found["appearing"], found["vanishing"], found["changing"]) == (2, 0, 0)
    assert [
        (
            change["kind"],
            change["wouldBeAnnounced"],
            change["after"]["status"],
            change["after"]["count"],
        )
        for change in found["changes"]
    ] == [("APPEARS", False, "RESOLVED", 7), ("APPEARS", True, "OPEN", 8)]
    assert line.breaches() == []

    line.service.query(SET_RULE, {"rule": stricter})
    assert sorted((breach["count"], breach["stale"]) for breach in line.breaches()) == [
        (7, True),
        (8, False),
    ]


def test_a_preview_of_a_rule_says_which_breaches_would_become_others(line: Line) -> None:
    line.says(*[SLOW] * 7, GOOD, SLOW)
    found = line.preview(rule=line.rule(belowRatio=0.5, recoveredAfter=2))
    (change,) = found["changes"]
    assert (change["kind"], change["before"]["status"]) == ("CHANGES", "RESOLVED")
    assert (change["after"]["status"], change["after"]["count"]) == ("OPEN", 8)


def test_a_preview_of_a_rule_says_that_only_the_end_would_be_another(line: Line) -> None:
    line.says(*[SLOW] * 7, GOOD, GOOD)
    later = line.rule(belowRatio=0.5, recoveredAfter=2)
    found = line.preview(rule=later)
    assert (found["appearing"], found["vanishing"], found["changing"]) == (0, 0, 1)
    (change,) = found["changes"]
    assert change["after"]["count"] == 7
    (before,) = line.breaches()
    line.service.query(SET_RULE, {"rule": later})
    (after,) = line.breaches()
    assert (after["id"], after["count"]) == (before["id"], 7)
    assert after["resolvedAt"] == change["after"]["resolvedAt"] > before["resolvedAt"]


def test_a_preview_of_a_deleted_rule_says_what_would_go_with_it(line: Line) -> None:
    rule = line.obeys(metric="LATENCY", aboveMs=30, moreThan=2)
    line.says(*[best(latencyMs=50)] * 3)
    found = line.preview(deleteRule=rule["id"])
    (change,) = found["changes"]
    assert (change["kind"], change["rule"]["metric"]) == ("VANISHES", "LATENCY")


def test_a_preview_counts_runs_that_would_be_judged_otherwise(line: Line) -> None:
    busy = {"lineUp": True, "crossTrafficMbps": 60}
    run = line._run(datetime.now(UTC) - timedelta(hours=1), SLOW) | {"conditions": busy}
    line.service.query(SUBMIT, {"runs": [run]})
    assert line.preview(plan=line.plan(downloadMbps=400))["runsChanged"] == 1


@pytest.mark.parametrize(
    ("given", "code", "word"),
    [
        ({}, "BAD_INPUT", "exactly one"),
        ({"deleteRule": "*/UPLOAD/none"}, "NOT_FOUND", "no rule"),
        ({"rule": {"metric": "LATENCY", "belowMbps": 5}}, "BAD_INPUT", "aboveMs"),
    ],
)
def test_a_preview_of_nothing_or_nonsense_is_refused(
    service: Service, given: dict[str, Any], code: str, word: str
) -> None:
    (error,) = service.post(PREVIEW, given)["errors"]
    assert error["extensions"]["code"] == code
    assert word in error["message"]
    (refused,) = service.post(PREVIEW, given, "viewer")["errors"]
    assert refused["extensions"]["code"] == "FORBIDDEN"


# What becomes of the letters


def cheaper_plan(line: Line) -> None:
    line.service.query(SET_PLAN, {"plan": line.plan(downloadMbps=200)})


def a_late_good_run(line: Line) -> None:
    line.says(GOOD, ends=datetime.now(UTC) - timedelta(hours=2, minutes=30))


def deleted_runs(line: Line) -> None:
    document = "query($p: String!) { runs(probe: $p, first: 2) { nodes { id } } }"
    delete = 'mutation($id: UUID!) { deleteRun(id: $id, reason: "a phone") { id } }'
    for node in line.service.query(document, {"p": line.probe})["runs"]["nodes"]:
        line.service.query(delete, {"id": node["id"]})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (cheaper_plan, "plans and rules as they are now"),
        (a_late_good_run, "a run that came late"),
        (deleted_runs, "a run of it was deleted"),
    ],
)
@pytest.mark.parametrize("sent", [True, False])
def test_a_letter_about_a_breach_that_falls_is_withdrawn_or_marked_with_why(
    line: Line, change: Callable[[Line], None], why: str, sent: bool
) -> None:
    line.says(*[SLOW] * 7)
    key = line.letter(sent=sent)
    if change is cheaper_plan:
        (told,) = line.preview(plan=line.plan(downloadMbps=200))["changes"]
        concerned = told["contradicted" if sent else "withdrawn"]
        assert [notice["id"] for notice in concerned] == [key]
    change(line)
    (fallen,) = line.breaches("RETRACTED")
    (notice,) = fallen["notices"]
    last = notice["steps"][-1]
    assert why in last["why"]
    assert notice["status"] == ("SENT" if sent else "SUPPRESSED")
    assert (notice["contradictedAt"] is not None) == sent
    assert (why in (notice["contradictedWhy"] or "")) == sent
    assert line.service.query(CLAIM, role="bot")["claimNotice"] is None


# What one tool says alone


def test_a_tool_alone_below_half_is_a_finding_and_no_breach(line: Line) -> None:
    mixed = {"ookla": {"downloadMbps": 900.0, "latencyMs": 9.0}, "fast": {"downloadMbps": 100.0}}
    line.says(*[mixed] * 8)
    assert line.breaches() == []
    (finding,) = line.service.query(FINDINGS, {"probe": line.probe}, "viewer")["findings"]
    assert (finding["tool"], finding["metric"], finding["count"]) == ("fast", "DOWNLOAD", 8)
    assert finding["median"] == 100
    assert finding["endedAt"] is None
    assert finding["others"] == [{"tool": "ookla", "n": 8, "median": 900}]
