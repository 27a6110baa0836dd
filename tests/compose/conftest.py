"""The stack as an operator starts it: a fresh clone, `secrets init`, `docker compose up --wait`.

It needs a Docker engine and builds images, so it runs only where it is asked for, by
`make test-compose`.
"""

import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.lab.mongo import free_port
from tests.lab.smtp import PASSWORD, SmtpServer, smtp_server

ROOT = Path(__file__).resolve().parents[2]
collect_ignore_glob = [] if os.environ.get("SPEEDTRAP_TEST_COMPOSE") else ["test_*.py"]

SUBSCRIBED_MBPS = 940.0

# Pebble's roots are new at each start, and no name leads here: what is served, tests look at.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE

# The bots trust the test's own mail server.
OVERRIDE = """\
services:
  bot-mail:
    environment:
      SPEEDTRAP_BOTS_MAIL_CA_FILE: /etc/ssl/smtp-ca.pem
    volumes:
      - {ca_file}:/etc/ssl/smtp-ca.pem:ro
"""


# The certificate authority of the tests, and the name that it and certbot know the gateway by.
TLS_OVERRIDE = """\
  certbot:
    environment:
      REQUESTS_CA_BUNDLE: /etc/ssl/acme-ca.pem
    volumes:
      - {ca_file}:/etc/ssl/acme-ca.pem:ro
  gateway:
    networks:
      acme: {{ aliases: [{domain}] }}
  pebble:
    image: letsencrypt/pebble:latest
    environment: {{ PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" }}
    networks: [acme]
"""
DOMAIN = "speedtrap.test"

# Where no registry is in reach, another tag of the same image does.
IMAGES = re.compile(r"^FROM (?P<name>[a-z][\w./-]*):(?P<tag>[\w.-]+)", re.MULTILINE)


def provide_images(folder: Path) -> None:
    """Tags what is here under the names that the Dockerfiles ask for and nobody can deliver."""
    for dockerfile in folder.rglob("Dockerfile"):
        for found in IMAGES.finditer(dockerfile.read_text(encoding="utf-8")):
            wanted = f"{found['name']}:{found['tag']}"
            if docker("image", "inspect", wanted).returncode == 0:
                continue
            if docker("pull", "--quiet", wanted).returncode == 0:
                continue
            others = docker("images", "--quiet", found["name"]).stdout.split()
            assert others, f"{wanted} can neither be pulled nor is there another tag of it"
            docker("tag", others[0], wanted)


def docker(*argv: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@dataclass
class Stack:
    """One running stack, and what an operator does with it."""

    folder: Path
    port: int
    project: str = field(default_factory=lambda: f"speedtrap-test-{secrets.token_hex(3)}")
    environment: dict[str, str] = field(default_factory=dict)

    tls_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Plain, or by TLS once there is a domain."""
        if self.with_tls:
            return f"https://127.0.0.1:{self.tls_port}"
        return f"http://127.0.0.1:{self.port}"

    @property
    def with_tls(self) -> bool:
        return "SPEEDTRAP_DOMAIN" in self.environment

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, verify=UNVERIFIED, timeout=30)

    def post(self, key: str, query: str, **variables: Any) -> httpx.Response:
        """The whole answer, errors and all."""
        return httpx.post(
            f"{self.url}/graphql",
            headers={"X-API-Key": key},
            json={"query": query, "variables": variables},
            verify=UNVERIFIED,
            timeout=30,
        )

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text(encoding="utf-8").strip()

    def run(self, *argv: str, check: bool = True) -> str:
        """In the clone, with the stack's settings; answers with what was printed."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout[-4000:]}{done.stderr}"
        return done.stdout + done.stderr

    def compose(self, *argv: str, check: bool = True) -> str:
        return self.run("docker", "compose", "--project-name", self.project, *argv, check=check)

    def speedtrap(self, *argv: str) -> str:
        return self.run(str(Path(sys.executable).parent / "speedtrap"), *argv)

    def up(self) -> None:
        self.compose("up", "--build", "--detach", "--wait")

    def turn_to_tls(self) -> None:
        """A domain in .env, another `up`; beside it the tests' own certificate authority."""
        cat = ["run", "--rm", "--entrypoint", "cat", "letsencrypt/pebble:latest"]
        ca_file = self.folder / "acme-ca.pem"
        ca_file.write_text(docker(*cat, "/test/certs/pebble.minica.pem").stdout, encoding="ascii")
        override = self.folder / "compose.override.yaml"
        plain = override.read_text(encoding="utf-8")
        override.write_text(plain + TLS_OVERRIDE.format(ca_file=ca_file, domain=DOMAIN))
        self.environment |= {
            "SPEEDTRAP_DOMAIN": DOMAIN,
            "SPEEDTRAP_ACME_SERVER": "https://pebble:14000/dir",
        }
        self.up()

    def containers(self) -> list[dict[str, Any]]:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).strip()

    def python_in(self, service: str, code: str) -> str:
        """Runs *code* in the service's container; what it prints, its error included."""
        return self.compose("exec", "--no-TTY", service, "python", "-c", code, check=False)

    def graphql(self, key: str, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.post(key, query, **variables)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert "errors" not in body, body["errors"]
        return dict(body["data"])

    def submit(self, key: str, *runs: dict[str, Any]) -> dict[str, Any]:
        query = (
            "mutation($runs: [RunInput!]!)"
            "{ submitRuns(runs: $runs) { accepted duplicates rejected { field message } } }"
        )
        return dict(self.graphql(key, query, runs=list(runs))["submitRuns"])


def a_run(probe: str, download_mbps: float, minutes_ago: float) -> dict[str, Any]:
    """As the probe submits one."""
    started = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    started_at = started.isoformat()
    return {
        "id": str(uuid4()),
        "probe": probe,
        "startedAt": started_at,
        "finishedAt": (started + timedelta(seconds=20)).isoformat(),
        "conditions": {"lineUp": True, "medium": "WIRED"},
        "measurements": [
            {
                "tool": "turnkey",
                "startedAt": started_at,
                "durationS": 10.0,
                "downloadMbps": download_mbps,
            }
        ],
    }


def becomes_true(ask: Callable[[], bool], seconds: float = 60) -> bool:
    """Asks until it is so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ask():
            return True
        time.sleep(0.5)
    return False


def _bridge_address() -> str:
    """The host, as every container can reach it."""
    inspect = "{{(index .IPAM.Config 0).Gateway}}"
    argv = ["docker", "network", "inspect", "bridge", "--format", inspect]
    found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    return found or "172.17.0.1"


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    folder = tmp_path_factory.mktemp("smtp")
    with smtp_server(folder, free_port(), host=_bridge_address()) as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, mail_server: SmtpServer) -> Iterator[Stack]:
    """Shared by all tests here, which leave it as they found it: up and healthy."""
    if shutil.which("docker") is None:
        raise FileNotFoundError("no docker: make test-compose needs an engine and docker compose")
    folder = tmp_path_factory.mktemp("stack") / "speedtrap"
    clone = ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(folder)]
    subprocess.run(clone, check=True)
    provide_images(folder)
    stack = Stack(folder, free_port())
    stack.speedtrap("secrets", "init")
    override = folder / "compose.override.yaml"
    override.write_text(OVERRIDE.format(ca_file=mail_server.ca_file), encoding="utf-8")
    (folder / "mail-secrets").mkdir(mode=0o700)
    (folder / "mail-secrets" / "mail_password").write_text(PASSWORD, encoding="utf-8")
    (folder / "mail-secrets" / "mail_password").chmod(0o600)
    mail = mail_server.environment
    stack.environment = {
        **{name: mail[name] for name in mail if not name.endswith(("PASSWORD", "CA_FILE"))},
        "SPEEDTRAP_HTTP_PORT": f"127.0.0.1:{stack.port}",
        "SPEEDTRAP_HTTPS_PORT": f"127.0.0.1:{stack.tls_port}",
        "SPEEDTRAP_HTTPS_SUFFIX": f":{stack.tls_port}",
        "SPEEDTRAP_MAIL_SECRETS": "./mail-secrets",
    }
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--timeout", "10", check=False)
