"""The main road through containers, and what must hold on the way."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.conftest import SUBSCRIBED_MBPS, Stack, a_run, becomes_true
from tests.lab.smtp import PASSWORD, SmtpServer

pytestmark = pytest.mark.system

SERVICES = {"gateway", "graph", "web", "bots", "db"}
PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
BREACHES = "query($probe: String) { breaches(probe: $probe) { nodes { status count reference } } }"
NOTICES = "{ notices { nodes { id status channel stage recipient digest subject } } }"
APPROVE = (
    "mutation($id: ID!, $digest: String!) { approveNotice(id: $id, digest: $digest) { status } }"
)


def breaches(stack: Stack, probe: str) -> list[dict[str, Any]]:
    data = stack.graphql(stack.secret("admin_key"), BREACHES, probe=probe)
    return list(data["breaches"]["nodes"])


def notices(stack: Stack, **wanted: str) -> list[dict[str, Any]]:
    """Those whose fields are as *wanted*."""
    nodes = stack.graphql(stack.secret("admin_key"), NOTICES)["notices"]["nodes"]
    return [node for node in nodes if wanted.items() <= node.items()]


@pytest.fixture(scope="module")
def probe_key(stack: Stack) -> str:
    """Added while everything runs; works without a restart of anything."""
    stack.speedtrap("keys", "add", "attic", "--role", "probe", "--file", "secrets/api_keys")
    line = next(
        line for line in stack.secret("api_keys").splitlines() if line.endswith('"attic:probe";')
    )
    key = line.split('"')[1]
    assert becomes_true(
        lambda: httpx.post(f"{stack.url}/graphql", headers={"X-API-Key": key}).status_code != 401
    )
    return key


def test_everything_is_up_and_only_the_gateway_is_published(stack: Stack) -> None:
    containers = stack.containers()
    assert {one["Service"] for one in containers} == SERVICES
    assert {one["State"] for one in containers} == {"running"}
    assert {one["Health"] for one in containers if one["Service"] != "bots"} == {"healthy"}
    published = {
        one["Service"]: {port["PublishedPort"] for port in one["Publishers"] or []} - {0}
        for one in containers
    }
    assert published == {name: set() for name in SERVICES} | {"gateway": {stack.port}}


def test_the_page_is_there(stack: Stack) -> None:
    answer = httpx.get(f"{stack.url}/")
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    assert httpx.get(f"{stack.url}/readyz").status_code == 200
    assert httpx.get(f"{stack.url}/metrics").status_code == 404


def test_without_a_key_there_is_401_whatever_the_caller_header_says(stack: Stack) -> None:
    for headers in ({}, {"X-Speedtrap-Caller": "admin:admin"}, {"X-API-Key": "planted"}):
        answer = httpx.post(
            f"{stack.url}/graphql", headers=headers, json={"query": "{ me { name } }"}
        )
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("service", ["web", "bots"])
@pytest.mark.parametrize("target", ["graph:8000", "db:27017"])
def test_graph_and_database_are_out_of_everybodys_reach(
    stack: Stack, service: str, target: str
) -> None:
    host, port = target.split(":")
    address = stack.run(
        "docker",
        "inspect",
        stack.container(host),
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
    ).split()
    assert address
    for name in (host, *address):
        code = f"import socket; socket.create_connection(({name!r}, {port}), 2); print('open')"
        assert "open" not in stack.python_in(service, code).splitlines()


@pytest.mark.parametrize("service", ["graph", "web", "bots"])
def test_services_are_not_root_and_secrets_are_theirs_alone(stack: Stack, service: str) -> None:
    processes = stack.run("docker", "top", stack.container(service), "-eo", "pid,uid,cmd")
    users = {line.split()[1] for line in processes.splitlines()[1:]}
    assert users == {"10001"}
    code = (
        "import pathlib\n"
        "for file in pathlib.Path('/run/speedtrap').iterdir():\n"
        "    print(file.stat().st_uid, oct(file.stat().st_mode & 0o777))"
    )
    assert set(stack.python_in(service, code).splitlines()) == {"10001 0o400"}


def test_no_secret_is_in_inspect_logs_or_environment(stack: Stack, probe_key: str) -> None:
    names = (
        "admin_key",
        "web_key",
        "bots_key",
        "web_session_secret",
        "speedtest-db_root_password",
        "speedtest-db_api_password",
        "speedtest-db_keyfile",
    )
    planted = [*(stack.secret(name) for name in names), probe_key, PASSWORD]
    stack.graphql(probe_key, "{ me { name } }")
    told = stack.compose("logs", "--no-color")
    for service in SERVICES:
        told += stack.run("docker", "inspect", stack.container(service))
        image = f"{stack.project}-{service}"
        told += stack.run("docker", "history", "--no-trunc", image)
    assert [secret for secret in planted if secret in told] == []


def test_the_road_from_six_slow_runs_to_one_letter(
    stack: Stack, probe_key: str, mail_server: SmtpServer
) -> None:
    admin = stack.secret("admin_key")
    plan = {
        "provider": "Example Cable",
        "downloadMbps": SUBSCRIBED_MBPS,
        "uploadMbps": 35.0,
        "timeZone": "America/Denver",
    }
    stack.graphql(admin, PLAN, plan=plan)
    slow = [a_run("attic", 120, minutes_ago=60 - 5 * n) for n in range(6)]
    for run in slow[:5]:
        assert stack.submit(probe_key, run)["accepted"] == [run["id"]]
    assert breaches(stack, "attic") == []
    stack.submit(probe_key, slow[5])
    (breach,) = breaches(stack, "attic")
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert stack.submit(probe_key, slow[5])["duplicates"] == [slow[5]["id"]]

    def waits() -> list[dict[str, Any]]:
        return notices(stack, channel="mail", stage="OPENING", status="PLANNED")

    assert becomes_true(lambda: len(waits()) == 1), stack.compose("logs", "bots")
    assert mail_server.letters == []
    (notice,) = waits()
    page = httpx.get(f"{stack.url}/")
    assert breach["reference"] in page.text

    stack.graphql(admin, APPROVE, id=notice["id"], digest=notice["digest"])
    assert becomes_true(lambda: len(mail_server.letters) == 1), stack.compose("logs", "bots")
    (letter,) = mail_server.letters
    assert letter.over_tls
    assert letter.recipients == ("support@isp.example",)
    assert breach["reference"] in str(letter.message["Subject"])
    assert becomes_true(lambda: len(notices(stack, id=notice["id"], status="SENT")) == 1)


def test_the_real_probe_measures_the_way_here_and_delivers(
    stack: Stack, probe_key: str, tmp_path: Path
) -> None:
    stack.environment |= {
        "SPEEDTRAP_PROBE_NAME": "attic",
        "SPEEDTRAP_PROBE_DATA_DIR": str(tmp_path),
        "SPEEDTRAP_PROBE_KEY": probe_key,
    }
    report = str(tmp_path / "report.csv")
    told = stack.speedtrap(
        "probe", "run", "--tool", "lan", "--url", stack.url, "--csv", report, "--json"
    )
    delivered = json.loads(told)
    assert (delivered["stored"], delivered["waiting"], delivered["problems"]) == (1, 0, [])
    document = (
        "query($id: UUID!){ run(id: $id) { measurements { tool downloadMbps failure { kind } } } }"
    )
    run = stack.graphql(stack.secret("admin_key"), document, id=delivered["run"]["id"])["run"]
    (measurement,) = run["measurements"]
    assert (measurement["tool"], measurement["failure"]) == ("lan", None)
    assert measurement["downloadMbps"] > 100


@pytest.mark.parametrize("service", ["db", "graph", "gateway", "web", "bots"])
def test_a_killed_container_comes_back_with_nothing_lost(
    stack: Stack, probe_key: str, mail_server: SmtpServer, service: str
) -> None:
    before = len(mail_server.letters)
    runs = [a_run("attic", 900, minutes_ago=0.5) for _ in range(3)]
    for run in runs:
        assert stack.submit(probe_key, run)["accepted"] == [run["id"]]
    known = breaches(stack, "attic")
    stack.compose("kill", service)
    stack.compose("up", "--detach", "--wait")
    assert becomes_true(lambda: httpx.get(f"{stack.url}/readyz").status_code == 200)
    assert stack.submit(probe_key, *runs)["duplicates"] == [run["id"] for run in runs]
    assert breaches(stack, "attic") == known
    assert httpx.get(f"{stack.url}/").status_code == 200
    assert len(mail_server.letters) == before


def test_a_revoked_key_is_refused_without_a_restart(stack: Stack) -> None:
    api_keys = "secrets/api_keys"
    stack.speedtrap("keys", "add", "visitor", "--role", "viewer", "--file", api_keys)
    line = next(line for line in stack.secret("api_keys").splitlines() if "visitor" in line)
    headers = {"X-API-Key": line.split('"')[1]}
    gateway = stack.container("gateway")
    started = json.loads(stack.run("docker", "inspect", gateway))[0]["State"]["StartedAt"]

    def status() -> int:
        query = {"query": "{ me { name } }"}
        return httpx.post(f"{stack.url}/graphql", headers=headers, json=query).status_code

    assert becomes_true(lambda: status() == 200)
    stack.speedtrap("keys", "revoke", "visitor", "--file", api_keys)
    assert becomes_true(lambda: status() == 401)
    assert json.loads(stack.run("docker", "inspect", gateway))[0]["State"]["StartedAt"] == started
