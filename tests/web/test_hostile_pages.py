"""The worst strings of a hostile probe, on every page and in every file that shows them."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.bots.hostile import STRINGS
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service
from tests.web.history import plan_a_notice

PLAN = """
mutation($provider: String!) {
  setPlan(plan: {provider: $provider, downloadMbps: 940, timeZone: "UTC"}) { id }
}
"""
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
PROVIDER = STRINGS["bidi"] + STRINGS["html"] + STRINGS["template"]
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


class Inert(HTMLParser):
    """Fails at whatever a page of ours does not have, but somebody's string would bring."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag != "script" or (found.get("src") or "").startswith("/assets/"), attrs
        assert not (tag == "img" and found.get("src") == "x")
        for name, value in attrs:
            assert not name.startswith("on"), (tag, attrs)
            if name in {"href", "src", "action"}:
                assert re.match(r"(/|#|\?|https?://127\.0\.0\.1|$)", value or ""), (tag, attrs)


def with_text(run: dict[str, object], text: str) -> dict[str, object]:
    """*text* wherever a probe may write."""
    measurement = {
        "tool": "ookla", "toolVersion": text, "durationS": 20.0, "startedAt": run["startedAt"],
        "downloadMbps": 120.0, "resultUrl": text,
        "server": {"id": text, "name": text, "host": text, "location": text},
    }  # fmt: skip
    failed = {
        "tool": text, "toolVersion": text, "durationS": 1.0, "startedAt": run["startedAt"],
        "failure": {"kind": "TOOL_FAILED", "message": text},
    }  # fmt: skip
    conditions = {"lineUp": True, "medium": "WIRED", "platform": text, "probeVersion": text}
    return {**run, "measurements": [measurement, failed], "conditions": conditions}


def test_no_string_of_a_probe_does_anything_on_a_page(empty: Service) -> None:
    """Each is refused by name, or stored and shown as nothing but text."""
    accepted: list[str] = []
    for text in STRINGS.values():
        [plain] = slow_runs(1)
        for run in (with_text(plain, text), softer(with_text(plain, text))):
            errors = refusals(submitted(empty, run))
            assert "Traceback" not in json.dumps(errors)
            for error in errors:
                assert error.get("extensions", {}).get("code") != "INTERNAL", (text[:40], error)
            if not errors:
                accepted.append(str(run["id"]))
                break
    assert len(accepted) >= len(STRINGS) // 2
    empty.query(PLAN, {"provider": PROVIDER})
    empty.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")

    [breach] = empty.query("{ breaches { nodes { id } } }")["breaches"]["nodes"]
    notice = plan_a_notice(empty, html=STRINGS["html"])

    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=60) as client:
        login = client.post("/login", data={"key": empty.keys["admin"]})
        assert login.status_code in {200, 303}
        shown: list[str] = []
        pages = ["/", "/runs", "/breaches", "/report", "/settings/plan", "/settings/probes"]
        about = [f"/breaches/{breach['id']}", f"/notices/{notice['id']}"]
        for path in [*pages, *about, *(f"/runs/{run}" for run in accepted)]:
            page = client.get(path)
            shown.append(page.text)
            assert page.status_code == 200, path
            assert "script-src" in page.headers["content-security-policy"]
            Inert().feed(page.text)
            assert not TURNING.search(page.text), path
        assert any("⟨U+202E⟩" in text for text in shown), "the override is seen, and turns nothing"
        letter = client.get(f"{about[1]}/letter")
        assert "sandbox" in letter.headers["content-security-policy"]
        assert "script-src" not in letter.headers["content-security-policy"]
        for row in csv.reader(io.StringIO(client.get("/runs.csv").text)):
            assert not any(re.match(r"[=+@\t\r]|-\D", cell) for cell in row), row
        assert client.get("/runs.json").json()


def test_a_provider_may_be_called_anything_of_1_to_200_characters(empty: Service) -> None:
    for name, text in STRINGS.items():
        answer = posted(empty, PLAN, {"provider": text}, "admin")
        told = answer.get("error") or next(iter(answer.get("errors") or []), None)
        if told:
            assert told.get("extensions", told)["code"] == "BAD_INPUT", (name, told)
            assert "provider" in told["message"] or name == "surrogate", (name, told)
            assert name in {"megabyte", "combining", "family", "empty", "surrogate"}, (name, told)
        else:
            stored = empty.query("{ plans { provider } }")["plans"][-1]["provider"]
            assert stored == text.strip(), name


def refusals(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Why nothing was stored: of the request, of the query, or of the run; empty when it was."""
    if "error" in answer:
        return [answer["error"]]
    found: list[dict[str, Any]] = answer.get("errors") or answer["data"]["submitRuns"]["rejected"]
    return found


def submitted(service: Service, run: dict[str, object]) -> dict[str, Any]:
    return posted(service, SUBMIT, {"runs": [run]}, "probe")


def posted(service: Service, query: str, variables: dict[str, object], role: str) -> dict[str, Any]:
    """The service's answer; in ASCII, in which a lone surrogate can be sent."""
    answer = httpx.post(
        f"{service.base_url}/graphql",
        headers={"X-API-Key": service.keys[role], "Content-Type": "application/json"},
        content=json.dumps({"query": query, "variables": variables}),
        timeout=60,
    )
    found: dict[str, Any] = answer.json()
    return found


def softer(run: dict[str, object]) -> dict[str, object]:
    """Without what may only be an address or a tool's name, for the strings that are neither."""
    measurements = run["measurements"]
    assert isinstance(measurements, list)
    first, second = measurements
    return {
        **run,
        "measurements": [
            {name: value for name, value in first.items() if name != "resultUrl"},
            {**second, "tool": "fast"},
        ],
    }
