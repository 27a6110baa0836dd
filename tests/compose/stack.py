"""One running stack, and what an operator, a probe and a reader do with it."""

import contextlib
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.compose import authority
from tests.compose.images import provide_images
from tests.lab.mongo import free_port

ROOT = Path(__file__).resolve().parents[2]
SUBSCRIBED_MBPS = 940.0

STRAY = "planted-in-a-file-that-was-forgotten"
STRAYS = (".env.local", "web/.env", "graph/secrets/api_keys", "docker/notes.txt", "secrets/more")

# Pebble's roots are new at each start, and no name leads here: what is served, tests look at.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass
class Stack:
    """A clone of the repository and the containers that are started from it."""

    folder: Path
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    project: str = field(default_factory=lambda: f"speedtrap-test-{secrets.token_hex(3)}")
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment |= {
            "SPEEDTRAP_HTTP_PORT": f"127.0.0.1:{self.port}",
            "SPEEDTRAP_HTTPS_PORT": f"127.0.0.1:{self.tls_port}",
            "SPEEDTRAP_HTTPS_SUFFIX": f":{self.tls_port}",
        }

    @property
    def url(self) -> str:
        """Plain, or by TLS once there is a domain."""
        if self.with_tls:
            return f"https://127.0.0.1:{self.tls_port}"
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/graphql"

    @property
    def with_tls(self) -> bool:
        return "SPEEDTRAP_DOMAIN" in self.environment

    @property
    def admin(self) -> str:
        return self.secret("admin_key")

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text(encoding="utf-8").strip()

    def run(
        self, *argv: str, check: bool = True, given: bytes | None = None, timeout_s: float = 600
    ) -> str:
        """In the clone, with the stack's settings; answers with what was printed."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            input=given,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        assert not check or done.returncode == 0, f"{argv}: {out[-4000:]}{err[-4000:]}"
        return out + err

    def compose(self, *argv: str, check: bool = True, given: bytes | None = None) -> str:
        command = ("docker", "compose", "--project-name", self.project, *argv)
        return self.run(*command, check=check, given=given)

    def speedtrap(self, *argv: str) -> str:
        return self.run(str(Path(sys.executable).parent / "speedtrap"), *argv)

    def build(self, *services: str) -> None:
        """Nothing is there yet at the first time: two busy cores have taken ten minutes for it."""
        command = ("docker", "compose", "--project-name", self.project, "build", *services)
        self.run(*command, timeout_s=1500)

    def up(self, *services: str) -> None:
        self.compose("up", "--detach", "--wait", *services)

    def add_key(self, name: str, role: str = "probe") -> str:
        """Made while everything runs; works without a restart of anything."""
        told = ("--role", role, "--file", "secrets/api_keys")
        self.speedtrap("keys", "add", name, *told)
        lines = self.secret("api_keys").splitlines()
        key = next(line for line in lines if line.endswith(f'"{name}:{role}";')).split('"')[1]
        assert becomes_true(lambda: self.post(key, "{ me { name } }").status_code == 200)
        return key

    def turn_to_tls(self, **settings: str) -> None:
        """A domain in .env, another `up`; beside it the tests' own certificate authority."""
        folder = self.folder / "authority"
        override = self.folder / "compose.override.yaml"
        plain = override.read_text(encoding="utf-8")
        override.write_text(plain + authority.prepare(folder), encoding="utf-8")
        self.environment |= settings | {
            "SPEEDTRAP_DOMAIN": authority.DOMAIN,
            "SPEEDTRAP_ACME_SERVER": authority.SERVER,
        }
        self.up()
        root = self.compose("exec", "--no-TTY", "certbot", "python3", "-c", authority.ROOT)
        (folder / "root.pem").write_text(root, encoding="ascii")

    def containers(self) -> list[dict[str, Any]]:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).split()[0]

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(json.loads(self.run("docker", "inspect", container))[0])

    def python_in(self, service: str, code: str) -> str:
        """Runs *code* in the service's container; what it prints, its error included."""
        return self.compose("exec", "--no-TTY", service, "python", "-c", code, check=False)

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

    def graphql(self, key: str, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.post(key, query, **variables)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert "errors" not in body, body["errors"]
        return dict(body["data"])

    def submit(self, key: str, *runs: dict[str, Any]) -> dict[str, Any]:
        return dict(self.graphql(key, SUBMIT, runs=list(runs))["submitRuns"])

    def deliver(self, *runs: dict[str, Any]) -> None:
        """As a probe does: each until it is acknowledged, whoever is away meanwhile."""
        for run in runs:
            assert becomes_true(partial(self._takes, run))

    def _takes(self, run: dict[str, Any]) -> bool:
        try:
            answer = self.post(self.admin, SUBMIT, runs=[run])
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK and "errors" not in answer.json()

    def plan(self, probe: str, download_mbps: float = SUBSCRIBED_MBPS) -> None:
        plan = {
            "probe": probe,
            "provider": "Example Cable",
            "downloadMbps": download_mbps,
            "uploadMbps": 35.0,
            "timeZone": "America/Denver",
        }
        self.graphql(self.admin, PLAN, plan=plan)

    def breaches(self, probe: str) -> list[dict[str, Any]]:
        return list(self.graphql(self.admin, BREACHES, probe=probe)["breaches"]["nodes"])

    def notices(self, **wanted: str) -> list[dict[str, Any]]:
        """Those whose fields are as *wanted*."""
        nodes = self.graphql(self.admin, NOTICES)["notices"]["nodes"]
        return [node for node in nodes if wanted.items() <= node.items()]

    def stored(self, probe: str) -> list[str]:
        """The id of every run of *probe*, as the export has them: a double would be there twice."""
        answer = self.get(f"/export/runs.ndjson?probe={probe}", **{"X-API-Key": self.admin})
        assert answer.status_code == 200, answer.text
        return [str(json.loads(line)["id"]) for line in answer.text.splitlines()]


PLAN = "mutation($plan: PlanInput!) { setPlan(plan: $plan) { id } }"
BREACHES = """
query($probe: String) { breaches(probe: $probe) { nodes { id status count reference } } }
"""
SUBMIT = """
mutation($runs: [RunInput!]!) {
  submitRuns(runs: $runs) { accepted duplicates rejected { field message } }
}
"""
NOTICES = """
{ notices { nodes { id reference status channel stage recipient digest subject } } }
"""
APPROVE = (
    "mutation($id: ID!, $digest: String!) { approveNotice(id: $id, digest: $digest) { status } }"
)


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


def becomes_true(ask: Callable[[], bool], seconds: float = 120) -> bool:
    """Asks until it is so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ask():
            return True
        time.sleep(0.5)
    return False


@contextlib.contextmanager
def fresh_stack(folder: Path) -> Iterator[Stack]:
    """A fresh clone with its secrets, not started yet; leaves nothing behind."""
    if shutil.which("docker") is None:
        raise FileNotFoundError("no docker: make test-compose needs an engine and docker compose")
    clone = ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(folder)]
    subprocess.run(clone, check=True)
    provide_images(folder)
    stack = Stack(folder)
    stack.speedtrap("secrets", "init")
    for place in STRAYS:
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(STRAY, encoding="utf-8")
    try:
        yield stack
    finally:
        everything = ("--profile", "*", "down", "--volumes", "--rmi", "local", "--remove-orphans")
        stack.compose(*everything, "--timeout", "10", check=False)
