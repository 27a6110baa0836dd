"""Everything that the schema offers can be read, and a notice goes its whole way over the wire."""

import base64
import hashlib
from typing import Any

import pytest
from graphql import get_introspection_query

from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service
from tests.lab.wire import APPROVE, PLAN, PLAN_NOTICE, SET_PLAN

LINE = """
{ probes {
    name runCount firstRunAt lastSeenAt streak silence { until reason by }
    plan { provider } plans { id since } rules { id metric belowRatio moreThan recoveredAfter }
    lastRun { ratioOfSubscribed plan { downloadMbps } }
    openBreach {
      reference count medianMbps subscribedMbps rule { metric } plan { provider timeZone }
      runs { downloadMbps } window(hours: 2) { downloadMbps } notices { id }
    }
} }
"""
OVER_TIME = """
query($since: DateTime!, $until: DateTime!) {
  history(probe: "laptop", since: $since, until: $until, buckets: 24) {
    metric bucketS t median p10 p90 min max n below outages inconclusive subscribedMbps
  }
  serviceReport(probe: "laptop", since: $since, until: $until) {
    verdict n outageRuns inconclusiveRuns medianMbps medianRatio fccBand consistentMbps
    peak { median n } offPeak { median n } belowCount belowShare outages { count durationS }
    longestStreak currentStreak tools { tool median n failures } hours { weekday hour median n }
    plan { id provider }
  }
}
"""
CLAIM = """
mutation { claimNotice(channel: "mail", worker: "w") {
  fence leaseUntil notice {
    id recipient text attachments { name mediaType altText sizeBytes sha256 contentBase64 }
    breach { reference status }
  }
} }
"""
SETTLE = """
mutation($id: ID!, $fence: Int!) {
  settleNotice(id: $id, fence: $fence, outcome: SENT, reference: "250 ok", detail: "taken") {
    status sentAt externalReference attempts
  }
}
"""


@pytest.fixture
def slow(service: Service) -> list[dict[str, Any]]:
    """Seven runs: a good one, then six slow ones that open a breach."""
    service.query(SET_PLAN, {"plan": PLAN})
    runs = [a_run(950, hours_ago=8), *slow_runs(6)]
    service.query(SUBMIT, {"runs": runs}, role="probe")
    return runs


@pytest.mark.usefixtures("slow")
def test_a_line_with_an_open_breach_is_read_in_one_query(service: Service) -> None:
    (probe,) = service.query(LINE, role="viewer")["probes"]
    assert (probe["runCount"], probe["streak"]) == (7, 6)
    assert probe["plan"] == {"provider": "ISP"}
    assert probe["plans"][0]["since"] == "1970-01-01T00:00:00.000Z"
    assert probe["rules"][0]["id"] == "*/DOWNLOAD"
    assert probe["lastRun"] == {"ratioOfSubscribed": 0.12, "plan": {"downloadMbps": 1000}}
    breach = probe["openBreach"]
    assert (breach["count"], breach["medianMbps"], breach["subscribedMbps"]) == (6, 120, 1000)
    assert [run["downloadMbps"] for run in breach["runs"]] == [120] * 6
    assert [run["downloadMbps"] for run in breach["window"]] == [950, *[120] * 6]
    assert breach["notices"] == []


def test_history_and_report_are_read(service: Service, slow: list[dict[str, Any]]) -> None:
    span = {"since": slow[0]["startedAt"], "until": a_run(hours_ago=0)["startedAt"]}
    answer = service.query(OVER_TIME, span, role="probe")
    assert sum(answer["history"]["n"]) == 7
    assert sum(answer["history"]["below"]) == 6
    assert None in answer["history"]["median"]
    report = answer["serviceReport"]
    assert (report["n"], report["belowCount"], report["longestStreak"]) == (7, 6, 6)
    assert report["verdict"] == "NOT_DELIVERED"
    assert report["plan"] == {"id": "*/1970-01-01T00:00:00.000Z", "provider": "ISP"}


TOLD = """query($id: ID!) { breach(id: $id) { notices {
  stage covers { reference } toldIn { id stage status }
} } }"""


@pytest.mark.usefixtures("slow")
def test_a_digest_and_what_it_tells_of_lead_to_each_other(service: Service) -> None:
    (breach,) = service.query("{ breaches { nodes { id reference } } }")["breaches"]["nodes"]
    draft = {
        "breach": breach["id"],
        "channel": "mail",
        "recipient": "a@isp.example",
        "text": "Dear",
    }
    service.query(PLAN_NOTICE, {"notice": {**draft, "stage": "OPENING"}}, role="bot")
    service.query(SUBMIT, {"runs": [a_run(950, hours_ago=0)]}, role="probe")
    told = {**draft, "stage": "DIGEST", "covers": [breach["id"]]}
    digest = service.query(PLAN_NOTICE, {"notice": told}, role="bot")["planNotice"]
    notices = service.query(TOLD, {"id": breach["id"]})["breach"]["notices"]
    assert {notice["stage"]: (notice["covers"], notice["toldIn"]) for notice in notices} == {
        "OPENING": ([], {"id": digest["id"], "stage": "DIGEST", "status": "PLANNED"}),
        "DIGEST": ([{"reference": breach["reference"]}], None),
    }


@pytest.mark.usefixtures("slow")
def test_a_notice_goes_its_way_over_the_wire(service: Service) -> None:
    (breach,) = service.query("{ breaches { nodes { id reference } } }")["breaches"]["nodes"]
    picture = b"\x89PNG picture"
    draft = {
        "breach": breach["id"],
        "stage": "OPENING",
        "channel": "mail",
        "recipient": "support@isp.example",
        "subject": "Slow",
        "text": "Dear",
        "attachments": [
            {
                "name": "chart.png",
                "mediaType": "image/png",
                "contentBase64": base64.b64encode(picture).decode(),
            }
        ],
    }
    planned = service.query(PLAN_NOTICE, {"notice": draft}, role="bot")["planNotice"]
    assert planned["status"] == "PLANNED"
    leave = {"id": planned["id"], "digest": planned["digest"]}
    assert service.query(APPROVE, leave)["approveNotice"]["status"] == "DUE"

    claim = service.query(CLAIM, role="bot")["claimNotice"]
    assert claim["notice"]["breach"] == {"reference": breach["reference"], "status": "OPEN"}
    (attachment,) = claim["notice"]["attachments"]
    assert base64.b64decode(attachment["contentBase64"]) == picture
    assert attachment["sha256"] == hashlib.sha256(picture).hexdigest()
    assert attachment["sizeBytes"] == len(picture)
    assert service.query(CLAIM, role="bot")["claimNotice"] is None

    fence = {"id": planned["id"], "fence": claim["fence"]}
    begin = "mutation($id: ID!, $fence: Int!) { beginSending(id: $id, fence: $fence) }"
    assert service.query(begin, fence, role="bot")["beginSending"] is True
    settled = service.query(SETTLE, fence, role="bot")["settleNotice"]
    assert (settled["status"], settled["externalReference"]) == ("SENT", "250 ok")
    assert settled["attempts"] == 1

    listed = service.query(
        "{ notices(status: [SENT]) { nodes { id attachments { name contentBase64 } } } }"
    )["notices"]["nodes"]
    assert base64.b64decode(listed[0]["attachments"][0]["contentBase64"]) == picture


def test_clients_may_ask_for_the_schema(service: Service) -> None:
    assert service.query(get_introspection_query(), role="viewer")["__schema"]["types"]


def test_a_run_may_be_written_out_in_the_document(service: Service) -> None:
    run = a_run()
    document = f"""mutation {{ submitRuns(runs: [{{
        id: "{run["id"]}", probe: "laptop", startedAt: "{run["startedAt"]}",
        finishedAt: "{run["finishedAt"]}", conditions: {{lineUp: true, medium: "WIRED"}},
        measurements: [{{tool: "ookla", startedAt: "{run["startedAt"]}", durationS: 9,
                         downloadMbps: 940}}]
    }}]) {{ accepted rejected {{ field message }} }} }}"""
    answer = service.query(document, role="probe")["submitRuns"]
    assert answer == {"accepted": [run["id"]], "rejected": []}


def test_an_inner_fault_is_masked_and_the_log_has_its_id(
    service: Service, mongod: Mongod, database_name: str
) -> None:
    run = a_run()
    service.query(SUBMIT, {"runs": [run]}, role="probe")
    with mongod.client() as client:
        client[database_name]["runs"].update_many({}, {"$set": {"outcome": "planted-secret"}})
    error = service.post("{ runs { nodes { outcome } } }")["errors"][0]
    assert error["extensions"]["code"] == "INTERNAL"
    assert "planted-secret" not in str(error)
    log = service.log.read_text(encoding="utf-8")
    assert error["extensions"]["id"] in error["message"]
    # With the traceback, down to where it happened.
    entry = log[log.index(error["extensions"]["id"]) :]
    assert "Traceback (most recent call last)" in entry
    assert "runs.py" in entry
    assert "planted-secret" in entry
