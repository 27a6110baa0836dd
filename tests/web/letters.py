"""Letters that came to more than waiting: one that no longer holds, and one told in a digest."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.lab.service import Service
from tests.lab.wire import APPROVE, PLAN_NOTICE
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit

CLAIM = 'mutation { claimNotice(channel: "mail", worker: "w") { fence } }'
BEGIN = "mutation($id: ID!, $fence: Int!) { beginSending(id: $id, fence: $fence) }"
SETTLE = """mutation($id: ID!, $fence: Int!) {
  settleNotice(id: $id, fence: $fence, outcome: SENT, reference: "250 ok") { status }
}"""
DELETE = 'mutation($id: UUID!) { deleteRun(id: $id, reason: "measured by Wi-Fi") { id } }'
BREACHES = "query($p: String) { breaches(probe: $p) { nodes { id reference runs { id } } } }"
SILENCE = """mutation($probe: String!, $until: DateTime!) {
  silence(probe: $probe, until: $until, reason: "A new modem comes on Friday.") { until }
}"""


def the_breach(service: Service, probe: str | None = None) -> dict[str, Any]:
    (breach,) = service.query(BREACHES, {"p": probe})["breaches"]["nodes"]
    found: dict[str, Any] = breach
    return found


def a_letter_that_no_longer_holds(service: Service, probe: str) -> dict[str, str]:
    """Sent, and then half of its runs were deleted: `mistake`, its breach, and a `deleted` run."""
    set_plan(service, probe=probe)
    submit(service, [a_full_run(h, 0.3, probe=probe) for h in range(9, 1, -1)], role="admin")
    notice, breach = plan_a_notice(service), the_breach(service, probe)
    send(service, notice)
    for run in breach["runs"][:4]:
        service.query(DELETE, {"id": run["id"]})
    return {
        "mistake": notice["id"],
        "mistaken": breach["id"],
        "deleted": breach["runs"][0]["id"],
    }


def send(service: Service, notice: dict[str, Any]) -> None:
    """As the mail bot does after a person's leave."""
    service.query(APPROVE, {"id": notice["id"], "digest": notice["digest"]})
    fence = {"id": notice["id"], **service.query(CLAIM, role="bot")["claimNotice"]}
    service.query(BEGIN, fence, role="bot")
    service.query(SETTLE, fence, role="bot")


def a_letter_told_in_a_digest(service: Service, probe: str) -> dict[str, str]:
    """The line recovered before anybody gave leave: `held`, the `digest`, and the breach `told`."""
    set_plan(service, probe=probe)
    submit(service, [a_full_run(h, 0.3, probe=probe) for h in range(9, 1, -1)], role="admin")
    held, breach = plan_a_notice(service), the_breach(service, probe)
    submit(service, [a_full_run(1, 0.9, probe=probe)], role="admin")
    digest = plan_a_digest(service, breach["id"])
    return {"held": held["id"], "digest": digest["id"], "told": breach["id"]}


def plan_a_digest(service: Service, breach: str) -> dict[str, Any]:
    digest = {
        "breach": breach,
        "stage": "DIGEST",
        "channel": "mail",
        "recipient": "support@isp.example",
        "subject": "This week's slow hours",
        "text": "Dear support team,\n\nthis week the line was slow once more.\n",
        "covers": [breach],
    }
    planned: dict[str, Any] = service.query(PLAN_NOTICE, {"notice": digest}, role="bot")
    return dict(planned["planNotice"])


def silence(service: Service, probe: str) -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    service.query(SILENCE, {"probe": probe, "until": until.isoformat()})
