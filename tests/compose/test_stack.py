"""The main road through containers, and what must hold on the way."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.conftest import SUBSCRIBED_MBPS, Stack, a_run, becomes_true
from tests.lab.smtp import PASSWORD, SmtpServer

pytestmark = pytest.mark.system

SERVICES = {"gateway", "certbot", "graph", "web", "bot-mail", "bot-twitter", "db"}
PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
BREACHES = "query($probe: String) { breaches(probe: $probe) { nodes { status count reference } } }"
SUBMIT = (
    "mutation($runs: [RunInput!]!)"
    "{ submitRuns(runs: $runs) { accepted duplicates rejected { field message } } }"
)
RUN = "query($id: UUID!) { run(id: $id) { id } }"
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
    assert {one["Health"] for one in containers} == {"healthy"}
    published = {
        one["Service"]: {port["PublishedPort"] for port in one["Publishers"] or []} - {0}
        for one in containers
    }
    assert published == {name: set() for name in SERVICES} | {
        "gateway": {stack.port, stack.tls_port}
    }


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


@pytest.mark.parametrize("service", ["web", "bot-mail", "bot-twitter", "certbot"])
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


@pytest.mark.parametrize("service", ["graph", "web", "bot-mail", "bot-twitter", "certbot"])
def test_services_are_not_root_and_secrets_are_theirs_alone(stack: Stack, service: str) -> None:
    processes = stack.run("docker", "top", stack.container(service), "-eo", "pid,uid,cmd")
    # A health check is the engine's: it may be running just now.
    own = [line for line in processes.splitlines()[1:] if "urllib.request" not in line]
    users = {line.split()[1] for line in own}
    assert users == {"10001"}
    if service == "certbot":
        return
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

    assert becomes_true(lambda: len(waits()) == 1), stack.compose("logs", "bot-mail")
    assert mail_server.letters == []
    (notice,) = waits()
    page = httpx.get(f"{stack.url}/")
    assert breach["reference"] in page.text

    stack.graphql(admin, APPROVE, id=notice["id"], digest=notice["digest"])
    assert becomes_true(lambda: len(mail_server.letters) == 1), stack.compose("logs", "bot-mail")
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


class Load(threading.Thread):
    """One probe that submits without pause; keeps what was acknowledged, repeats what was not."""

    def __init__(self, stack: Stack, key: str, probe: str) -> None:
        super().__init__(name="load")
        self.acknowledged: list[str] = []
        self.done = threading.Event()
        self._stack = stack
        self._key = key
        self._probe = probe

    def run(self) -> None:
        while not self.done.is_set():
            run = a_run(self._probe, 900, minutes_ago=0.5)
            while not self._acknowledged(run) and not self.done.is_set():
                self.done.wait(0.2)

    def _acknowledged(self, run: dict[str, Any]) -> bool:
        try:
            answer = self._stack.post(self._key, SUBMIT, runs=[run])
        except httpx.HTTPError:
            return False
        if answer.status_code != httpx.codes.OK or "errors" in answer.json():
            return False
        told = answer.json()["data"]["submitRuns"]
        assert run["id"] in told["accepted"] + told["duplicates"], told
        self.acknowledged.append(run["id"])
        return True


@contextlib.contextmanager
def under_load(stack: Stack, key: str, probe: str = "attic") -> Iterator[Load]:
    load = Load(stack, key, probe)
    load.start()
    try:
        assert becomes_true(lambda: len(load.acknowledged) > 2)
        yield load
    finally:
        load.done.set()
        load.join()


def stored(stack: Stack, ids: list[str]) -> set[str]:
    """Those of *ids* that graph can give back."""
    found = set()
    for one in ids:
        run = stack.graphql(stack.secret("admin_key"), RUN, id=one)["run"]
        if run is not None:
            found.add(str(run["id"]))
    return found


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_killed_container_comes_back_with_nothing_lost(
    stack: Stack, probe_key: str, mail_server: SmtpServer, service: str
) -> None:
    letters = len(mail_server.letters)
    with under_load(stack, probe_key) as load:
        # The first good run has ended the breach; from here on nothing may change.
        known = breaches(stack, "attic")
        stack.compose("kill", service)
        stack.compose("up", "--detach", "--wait")
        again = len(load.acknowledged)
        assert becomes_true(lambda: len(load.acknowledged) > again + 2)
    assert stored(stack, load.acknowledged) == set(load.acknowledged)
    assert breaches(stack, "attic") == known
    assert stack.get("/").status_code == 200
    assert len(mail_server.letters) == letters


def test_graph_and_web_run_in_several_copies(stack: Stack, probe_key: str) -> None:
    copies = ("--scale", "graph=3", "--scale", "web=2", "--scale", "bot-mail=2")
    stack.compose("up", "--detach", "--wait", "--no-recreate", *copies)
    try:
        graphs = stack.compose("ps", "--quiet", "graph").split()
        assert len(graphs) == 3
        with under_load(stack, probe_key) as load:
            # NGINX looks the name up again every five seconds.
            assert becomes_true(lambda: len(addresses_of_graph(stack)) == 3)
            stack.run("docker", "kill", graphs[0])
            again = len(load.acknowledged)
            assert becomes_true(lambda: len(load.acknowledged) > again + 5)
        assert stored(stack, load.acknowledged) == set(load.acknowledged)
        assert [stack.get("/").status_code for _ in range(6)] == [200] * 6
    finally:
        stack.up()


def addresses_of_graph(stack: Stack) -> set[str]:
    """Those that the gateway has asked of late, by its log."""
    lines = stack.compose("logs", "--no-color", "--no-log-prefix", "--tail=40", "gateway")
    return set(re.findall(r'"path":"/graphql".*"upstream":"([\d.]+):8000"', lines))


def test_the_root_of_every_container_is_read_only_and_its_service_has_no_privilege(
    stack: Stack,
) -> None:
    for service in SERVICES:
        told = json.loads(stack.run("docker", "inspect", stack.container(service)))[0]["HostConfig"]
        assert told["ReadonlyRootfs"], service
        assert told["CapDrop"] == ["ALL"], service
        assert told["Memory"] > 0, service
        assert told["SecurityOpt"] == ["no-new-privileges:true"], service
        assert told["RestartPolicy"]["Name"] == "unless-stopped", service
        assert told["LogConfig"]["Config"]["max-size"] == "10m", service
    for service in SERVICES - {"gateway"}:
        status = stack.run("docker", "exec", stack.container(service), "cat", "/proc/1/status")
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE), service


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
