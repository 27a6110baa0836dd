"""No address, password, token or home folder of anybody's tools comes out anywhere."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab.mongo import Mongod
from tests.lab.runs import slow_runs
from tests.lab.service import Service, running_service
from tests.web.history import submit
from tests.web.test_pages import SAME_SITE
from tests.web.test_printing import words_of

TOOLS = sorted(
    path.stem.replace("_", "-")
    for path in (Path(__file__).parents[2] / "probe/speedtrap_probe/tools").glob("[a-z]*.py")
)
ADDRESSES = ["198.51.100.23", "2001:db8::dead:beef", "00:00:5e:00:53:af"]
WORDS = ["planted-password", "planted-token", "planted-query", "planted-user"]
PLANTED = [*ADDRESSES, *WORDS]
SAID = (
    "Get https://planted-user:planted-password@speed.example/x?planted-query=1&token=planted-token"
    ": read tcp 198.51.100.23:50412->198.51.100.23:443 via 00:00:5e:00:53:af: "
    "dial [2001:db8::dead:beef]:443; File /home/planted-user/.cache/x.py, "
    r"C:\Users\planted-user\AppData\x.exe; Authorization: Bearer planted-token"
)
PLAN = 'mutation { setPlan(plan: {provider: "ISP", downloadMbps: 940, timeZone: "UTC"}) { id } }'
EVERYTHING = """
{ runs(first: 50) { nodes { outcomeReason conditions { notes platform probeVersion }
    measurements { tool toolVersion resultUrl server { id name host location } failure { message } }
} } }
"""
NOTICES = "{ notices { nodes { id text html attachments { name contentBase64 } breach { id } } } }"


def with_secrets(run: dict[str, Any]) -> dict[str, Any]:
    """Wherever a tool's own words go, in a failure and in a result of every tool."""
    started = run["startedAt"]
    server = {"id": SAID[:200], "name": "198.51.100.23", "host": "2001:db8::dead:beef",
              "location": "/home/planted-user"}  # fmt: skip
    failed = [
        {"tool": tool, "startedAt": started, "durationS": 1, "toolVersion": SAID[:200],
         "failure": {"kind": "TOOL_FAILED", "message": SAID}}
        for tool in TOOLS
    ]  # fmt: skip
    address = "https://planted-user:planted-password@speed.example/r/1?token=planted-token"
    measured = [
        {"tool": tool, "startedAt": started, "durationS": 9, "server": server,
         "downloadMbps": 2000.0 if tool == "lan" else 120.0, "resultUrl": address}
        for tool in TOOLS
    ]  # fmt: skip
    conditions = {"lineUp": True, "notes": [SAID[:200]], "platform": SAID[:200],
                  "probeVersion": "198.51.100.23"}  # fmt: skip
    return {**run, "conditions": conditions, "measurements": [*failed, *measured]}


@pytest.fixture
def service(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    with running_service(mongod, database_name, tmp_path / "service", with_web=True) as running:
        yield running


@pytest.fixture
def told(service: Service, tmp_path: Path) -> dict[str, str]:
    """Every output, by its name."""
    service.query(PLAN)
    runs = [with_secrets(run) for run in slow_runs(7)]
    submit(service, runs)
    bots = subprocess.run(
        [sys.executable, "-m", "speedtrap", "bots", "run", "--once"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path),
             "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
             "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
             "SPEEDTRAP_BOTS_MAIL_FROM": "me@home.example",
             "SPEEDTRAP_BOTS_MAIL_TO": "desk@isp.example"},
        capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    outputs = {"the bots' log": bots.stdout + bots.stderr}
    notices = service.query(NOTICES)["notices"]["nodes"]
    assert notices, outputs
    for notice in notices:
        outputs |= {"the letter": notice["text"], "the letter in HTML": notice["html"] or ""}
        for attachment in notice["attachments"]:
            content = base64.b64decode(attachment["contentBase64"])
            is_pdf = content.startswith(b"%PDF")
            text = words_of(content) if is_pdf else content.decode("utf-8", "replace")
            outputs[f"attachment {attachment['name']}"] = text
    [breach] = {notice["breach"]["id"] for notice in notices}
    paths = ["/", "/runs", "/breaches", "/report", "/runs.csv", "/runs.json", "/feed.atom",
             "/report.pdf", f"/breaches/{breach}", f"/breaches/{breach}/runs.csv",
             f"/breaches/{breach}/evidence.json", f"/breaches/{breach}/evidence.pdf",
             *(f"/runs/{run['id']}" for run in runs[:2]),
             *(f"/notices/{notice['id']}" for notice in notices),
             *(f"/notices/{one['id']}/letter" for one in notices if one["html"])]  # fmt: skip
    key = {"X-API-Key": service.keys["admin"]}
    with httpx.Client(base_url=service.base_url, headers=SAME_SITE, timeout=60) as client:
        client.post("/login", data={"key": service.keys["admin"]})
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200, path
            is_pdf = answer.content.startswith(b"%PDF")
            outputs[path] = words_of(answer.content) if is_pdf else answer.text
        for path in ("/export/runs.csv", "/export/runs.ndjson", "/metrics"):
            outputs[path] = client.get(path, headers=key).raise_for_status().text
    outputs["the API"] = json.dumps(service.query(EVERYTHING), ensure_ascii=False)
    outputs["the service's log"] = service.log.read_text(encoding="utf-8")
    return outputs


def test_nothing_of_what_a_tool_says_about_a_household_comes_out(told: dict[str, str]) -> None:
    assert {"the letter", "/feed.atom", "/metrics", "the API"} <= told.keys()
    assert any(name.endswith(".csv") for name in told if name.startswith("attachment"))
    for tool in TOOLS:
        assert tool in told["the API"]
    found = [
        (name, secret)
        for name, text in told.items()
        for secret in PLANTED
        if secret in re.sub(r"\s+", " ", text)
    ]
    assert found == []
