"""The main road through containers, the doors, and the care of what is stored."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.stack import APPROVE, Stack, a_run, becomes_true
from tests.lab.smtp import SmtpServer

pytestmark = pytest.mark.system

SERVICES = {"gateway", "certbot", "graph", "web", "bot-mail", "bot-twitter", "db"}


@pytest.fixture(scope="module")
def garden_key(stack: Stack) -> str:
    """Of the probe `garden`."""
    return stack.add_key("garden")


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


def test_the_page_is_there_and_the_figures_of_the_service_are_not_public(stack: Stack) -> None:
    answer = stack.get("/")
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    assert stack.get("/readyz").status_code == 200
    for headers in ({}, {"X-API-Key": stack.admin}):
        assert stack.get("/metrics", **headers).status_code == 404


def test_without_a_key_there_is_401_whatever_the_caller_header_says(stack: Stack) -> None:
    for headers in ({}, {"X-Speedtrap-Caller": "admin:admin"}, {"X-API-Key": "planted"}):
        query = {"query": "{ me { name } }"}
        answer = httpx.post(f"{stack.url}/graphql", headers=headers, json=query, timeout=30)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHENTICATED"


def test_a_caller_that_names_itself_stays_who_its_key_says(stack: Stack, probe_key: str) -> None:
    answer = httpx.post(
        f"{stack.url}/graphql",
        headers={"X-API-Key": probe_key, "X-Speedtrap-Caller": "admin:admin"},
        json={"query": "{ me { name role } }"},
        timeout=30,
    )
    assert answer.json()["data"]["me"] == {"name": "attic", "role": "PROBE"}


CLOSED_DOORS = (("graph", 8000), ("db", 27017), ("gateway", 9100))
"""9100 gives the figures of the service to whoever asks."""

KNOCK = """
import socket
from concurrent.futures import ThreadPoolExecutor
def knock(door):
    try:
        socket.create_connection(door, 5).close()
    except OSError:
        return
    print(*door)
with ThreadPoolExecutor(32) as pool:
    list(pool.map(knock, {doors!r}))
"""


@pytest.mark.parametrize(
    ("service", "open_doors"),
    [
        ("web", ["gateway 8080"]),
        ("bot-mail", ["gateway 8080"]),
        ("bot-twitter", ["gateway 8080"]),
        ("certbot", []),
    ],
)
def test_graph_the_database_and_the_figures_are_out_of_everybodys_reach(
    stack: Stack, service: str, open_doors: list[str]
) -> None:
    """By their names and by every address they have; the door that is meant for all is open."""
    doors = [("gateway", 8080)]
    for host, port in CLOSED_DOORS:
        networks = stack.inspect(stack.container(host))["NetworkSettings"]["Networks"]
        addresses = [network["IPAddress"] for network in networks.values()]
        assert all(addresses)
        doors += [(name, port) for name in (host, *addresses)]
    assert stack.python_in(service, KNOCK.format(doors=doors)).splitlines() == open_doors


def test_graph_believes_nobody_who_comes_beside_the_gateway(stack: Stack) -> None:
    """Every account of the host can reach the addresses of containers, also of inner networks."""
    found = stack.inspect(stack.container("graph"))["NetworkSettings"]["Networks"].values()
    url = f"http://{next(network['IPAddress'] for network in found)}:8000"
    assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
    says = {"X-Speedtrap-Caller": "admin:admin"}
    asked = {"query": "{ me { name } }"}
    assert httpx.post(f"{url}/graphql", headers=says, json=asked, timeout=30).status_code == 401
    assert httpx.get(f"{url}/metrics", headers=says, timeout=30).status_code == 403


def test_the_road_from_six_slow_runs_to_one_letter(
    stack: Stack, garden_key: str, mail_server: SmtpServer
) -> None:
    stack.plan("garden")
    slow = [a_run("garden", 120, minutes_ago=60 - 5 * n) for n in range(6)]
    for run in slow[:5]:
        assert stack.submit(garden_key, run)["accepted"] == [run["id"]]
    assert stack.breaches("garden") == []
    stack.submit(garden_key, slow[5])
    (breach,) = stack.breaches("garden")
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert stack.submit(garden_key, slow[5])["duplicates"] == [slow[5]["id"]]

    def waits() -> list[dict[str, Any]]:
        return stack.notices(
            channel="mail", stage="OPENING", status="PLANNED", reference=breach["reference"]
        )

    assert becomes_true(lambda: len(waits()) == 1), stack.compose("logs", "bot-mail")
    assert mail_server.letters == []
    (notice,) = waits()
    assert breach["reference"] in stack.get("/").text

    stack.graphql(stack.admin, APPROVE, id=notice["id"], digest=notice["digest"])
    assert becomes_true(lambda: len(mail_server.letters) == 1), stack.compose("logs", "bot-mail")
    (letter,) = mail_server.letters
    assert letter.over_tls
    assert letter.recipients == ("support@isp.example",)
    assert breach["reference"] in str(letter.message["Subject"])
    assert becomes_true(lambda: len(stack.notices(id=notice["id"], status="SENT")) == 1)


def test_the_real_probe_measures_the_way_here_and_delivers(
    stack: Stack, garden_key: str, tmp_path: Path
) -> None:
    stack.environment |= {
        "SPEEDTRAP_PROBE_NAME": "garden",
        "SPEEDTRAP_PROBE_DATA_DIR": str(tmp_path),
        "SPEEDTRAP_PROBE_KEY": garden_key,
    }
    report = str(tmp_path / "report.csv")
    told = stack.speedtrap(
        "probe", "run", "--tool", "lan", "--url", stack.url, "--csv", report, "--json"
    )
    for name in ("NAME", "DATA_DIR", "KEY"):
        del stack.environment[f"SPEEDTRAP_PROBE_{name}"]
    delivered = json.loads(told)
    assert (delivered["stored"], delivered["waiting"], delivered["problems"]) == (1, 0, [])
    document = (
        "query($id: UUID!){ run(id: $id) { measurements { tool downloadMbps failure { kind } } } }"
    )
    run = stack.graphql(stack.admin, document, id=delivered["run"]["id"])["run"]
    (measurement,) = run["measurements"]
    assert (measurement["tool"], measurement["failure"]) == ("lan", None)
    assert measurement["downloadMbps"] > 1


def test_a_revoked_key_is_refused_without_a_restart(stack: Stack) -> None:
    key = stack.add_key("visitor", "viewer")
    gateway = stack.container("gateway")
    started = stack.inspect(gateway)["State"]["StartedAt"]
    stack.speedtrap("keys", "revoke", "visitor", "--file", "secrets/api_keys")
    assert becomes_true(lambda: stack.post(key, "{ me { name } }").status_code == 401)
    assert stack.inspect(gateway)["State"]["StartedAt"] == started


FIGURES = """
query($since: DateTime!, $until: DateTime!) {
  probes { name runCount firstRunAt streak plans { provider downloadMbps since } }
  runs(first: 100) { nodes { id startedAt receivedAt outcome outcomeReason downloadMbps } }
  history(probe: "garden", since: $since, until: $until, buckets: 48) {
    t median p10 p90 min max n below outages inconclusive subscribedMbps
  }
  serviceReport(probe: "garden", since: $since, until: $until) {
    n medianMbps medianRatio verdict longestStreak currentStreak belowCount belowShare
    consistentMbps percentiles tools { tool median n } hours { weekday hour median n }
  }
  breaches { nodes {
    id reference probe status count medianMbps firstRunAt openedAt resolvedAt runs { id }
  } }
  notices { nodes {
    id digest status stage channel recipient subject text sentAt externalReference
    attachments { name sha256 } steps { status by why }
  } }
}
"""


def test_backup_destroy_restore_gives_the_same_figures(
    stack: Stack, mail_server: SmtpServer
) -> None:
    """By the operator's guide, onto a machine where nothing is left of the old database."""
    run = a_run("garden", 900, minutes_ago=0)
    span = {"since": a_run("", 0, minutes_ago=2 * 24 * 60)["startedAt"], "until": run["startedAt"]}
    before = stack.graphql(stack.admin, FIGURES, **span)
    assert {notice["status"] for notice in before["notices"]["nodes"]} >= {"SENT"}
    assert before["serviceReport"]["n"] >= 6
    letters = len(mail_server.letters)

    backup = stack.folder / "speedtrap.backup.gz"
    compose = f"docker compose --project-name {stack.project}"
    stack.run("sh", "-c", f"{compose} exec -T graph speedtrap-graph backup - > {backup.name}")
    stack.compose("down", "--volumes", "--timeout", "10")
    assert stack.project not in stack.run("docker", "volume", "ls")
    restore = f"{compose} run --rm -T graph speedtrap-graph restore - < {backup.name}"
    assert "Restored what was there" in stack.run("sh", "-c", restore)
    stack.up()
    assert stack.graphql(stack.admin, FIGURES, **span) == before
    # And life goes on from there: the bots know what was sent.
    stack.deliver(run)
    (breach,) = stack.breaches("garden")
    assert breach["status"] == "RESOLVED"
    assert becomes_true(
        lambda: len(stack.notices(reference=breach["reference"], stage="RECOVERY")) == 1
    )
    assert len(mail_server.letters) == letters
