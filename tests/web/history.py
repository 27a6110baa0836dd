"""A history as lines have them: good days, slow evenings, an outage, a gap, and a bad morning."""

import base64
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.lab.runs import SUBMIT
from tests.lab.service import Service

PLAN = {
    "provider": "Contoso Fibre",
    "downloadMbps": 940,
    "uploadMbps": 940,
    "timeZone": "America/Denver",
}
SET_PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
PLAN_NOTICE = "mutation($notice: NoticeInput!) { planNotice(notice: $notice) { id digest } }"
BREACHES = "{ breaches { nodes { id reference status } } }"
TOOLS = {"ookla": 1.0, "speedtest-cli": 0.8, "fast": 0.93}
SLOW_HOURS = 7
DAYS = 14
BATCH = 50

LETTER = "<h1>Dear support team</h1><p>Please check.</p><img src='cid:chart' alt='chart'>"
HOSTILE_LETTER = (
    f"{LETTER}<script>document.title = 'taken over'</script><img src='https://example.com/spy.png'>"
)

ONE_PIXEL = base64.b64encode(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
).decode()


def a_full_run(
    hours_ago: float,
    share: float | None,
    *,
    line_up: bool = True,
    probe: str = "laptop",
    started: datetime | None = None,
) -> dict[str, Any]:
    """Every tool and `lan`; *share* is of 940 Mbps, None when no internet tool got through."""
    started = started or datetime.now(UTC) - timedelta(hours=hours_ago)
    measurements = []
    for tool, factor in TOOLS.items():
        measurement: dict[str, Any] = {"tool": tool, "startedAt": started.isoformat()}
        if share is None:
            kind = "TOOL_FAILED" if line_up else "NO_NETWORK"
            failure = {"kind": kind, "message": "Name or service not known"}
            measurement |= {"durationS": 1, "failure": failure}
        else:
            download = round(940 * share * factor, 2)
            measurement |= {
                "durationS": 15,
                "downloadMbps": download,
                "uploadMbps": round(download * 0.96, 2),
                "latencyMs": 8.5,
                "server": {"name": "Front Range Net", "location": "Denver, CO"},
            }
        measurements.append(measurement)
    local = {"tool": "lan", "startedAt": started.isoformat(), "durationS": 8}
    measurements.append({**local, "downloadMbps": 2310.0, "uploadMbps": 2100.0, "latencyMs": 0.4})
    return {
        "id": str(uuid4()),
        "probe": probe,
        "startedAt": started.isoformat(),
        "finishedAt": (started + timedelta(seconds=50)).isoformat(),
        "conditions": {"lineUp": line_up, "medium": "WIRED", "publicIpHash": "5f1d" * 16},
        "measurements": measurements,
    }


def two_weeks() -> list[dict[str, Any]]:
    """Oldest first; the last seven hours are slow."""
    chance = random.Random(5)
    runs = []
    for hours_ago in range(DAYS * 24, 0, -1):
        if 150 < hours_ago < 172:
            continue
        if 60 < hours_ago < 64:
            runs.append(a_full_run(hours_ago, None, line_up=False))
            continue
        started = datetime.now(UTC) - timedelta(hours=hours_ago)
        slow = hours_ago <= SLOW_HOURS
        evening = started.hour in {2, 3, 4, 5}
        low, high = (0.25, 0.45) if slow else (0.55, 0.8) if evening else (0.9, 0.99)
        runs.append(a_full_run(hours_ago - 0.1, chance.uniform(low, high)))
    return runs


def submit(service: Service, runs: list[dict[str, Any]], role: str = "probe") -> None:
    for first in range(0, len(runs), BATCH):
        batch = runs[first : first + BATCH]
        answer = service.query(SUBMIT, {"runs": batch}, role=role)["submitRuns"]
        assert answer["rejected"] == []


def set_plan(service: Service, **changes: Any) -> None:
    service.query(SET_PLAN, {"plan": {**PLAN, **changes}})


def submit_two_weeks(service: Service) -> None:
    set_plan(service)
    submit(service, two_weeks())


def plan_a_notice(service: Service, html: str = LETTER) -> dict[str, Any]:
    """A complaint about the open breach, as the mail bot plans it; its id and digest."""
    nodes = service.query(BREACHES)["breaches"]["nodes"]
    breach = next(node for node in nodes if node["status"] == "OPEN")
    notice = {
        "breach": breach["id"],
        "stage": "OPENING",
        "channel": "mail",
        "recipient": "support@isp.example",
        "subject": f"Slow line, please check ({breach['reference']})",
        "text": f"Dear support team,\n\nplease check the line. {breach['reference']}\n",
        "html": html,
        "attachments": [
            {
                "name": "chart.png",
                "mediaType": "image/png",
                "altText": "Download over time",
                "contentBase64": ONE_PIXEL,
            },
            {
                "name": "runs.csv",
                "mediaType": "text/csv",
                "contentBase64": base64.b64encode(b"timestamp,run_id\n").decode(),
            },
        ],
    }
    planned: dict[str, Any] = service.query(PLAN_NOTICE, {"notice": notice}, role="bot")
    return dict(planned["planNotice"])
